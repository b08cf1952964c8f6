"""The examples of the docs, copied out, installed as packages that are not segbench, and run as a reader types them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .page import DOCS, commands, files, pages

ROOT = DOCS.parent


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    work, site = tmp_path / "work", tmp_path / "site"
    for path, text in files(page).items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(text, encoding="utf-8")
    own = {
        "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
        "SEGBENCH_RESULTS": str(tmp_path / "results"),
        "SEGBENCH_DATA": str(tmp_path / "data"),
        "SEGBENCH_CACHE": str(tmp_path / "cache"),
    }
    for command in commands(page):
        done = subprocess.run(
            words(command.words, site), cwd=work, env={**os.environ, **own}, capture_output=True, text=True, check=False
        )
        printed = done.stdout + done.stderr
        assert done.returncode == command.code, printed
        together = " ".join(printed.split())
        missing = [line for line in command.expected if " ".join(line.split()) not in together]
        assert not missing, printed


def words(given: list[str], site: Path) -> list[str]:
    """Turn a command of a page into one that reaches no network and changes no environment."""
    if given[0] == "segbench":
        return [sys.executable, "-m", "segbench", *given[1:]]
    assert given[0] == "python", given
    if given[1:4] == ["-m", "pip", "install"]:
        offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        return [sys.executable, *given[1:4], *offline, "--target", str(site), *given[4:]]
    return [sys.executable, *given[1:]]
