"""The examples of the docs, copied out, installed as packages that are not segbench, and run as a reader types them."""

import json
import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from .page import DOCS, Command, commands, files, pages

ROOT = DOCS.parent
OFFLINE = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")


# Of one piece each. The afternoon puts the same pieces together, and formats are held in tests/results.
PIECES = ("dataset", "decoder", "format", "loss", "table")


def marked(page: Path) -> object:
    return pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in PIECES else [])


@pytest.mark.parametrize("page", [marked(page) for page in pages()])
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

    def run(words: list[str], given: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **own}
        return subprocess.run(
            [sys.executable, *words],
            cwd=work,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    for program, group in groupby(commands(page), key=lambda command: command.words[0]):
        if program == "segbench":
            typed = list(group)
            done = run(["-m", "tests.several"], json.dumps([command.words[1:] for command in typed]))
            assert done.returncode == 0, done.stderr
            for command, answer in zip(typed, json.loads(done.stdout), strict=True):
                hold(command, answer["code"], answer["out"] + answer["err"])
        else:
            assert program == "python"
            for command in group:
                finished = run(words(command.words[1:], site))
                hold(command, finished.returncode, finished.stdout + finished.stderr)


def hold(command: Command, code: int, printed: str) -> None:
    """Hold what a command did to what the page says."""
    assert code == command.code, printed
    together = " ".join(printed.split())
    patterns = {line: ".*?".join(map(re.escape, " ".join(line.split()).split("..."))) for line in command.expected}
    missing = [line for line, pattern in patterns.items() if not re.search(pattern, together)]
    assert not missing, printed


def words(given: list[str], site: Path) -> list[str]:
    """Turn an installation into one that reaches no network and changes no environment."""
    if given[:3] == ["-m", "pip", "install"]:
        return [*given[:3], *OFFLINE, "--target", str(site), *given[3:]]
    return given
