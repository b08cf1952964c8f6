"""Output formats: every module of the package, and those of installed packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segbench.core.errors import UsageFault
from segbench.results.formats import formats, render
from tests.outside import install

LATEX = r'''
"""LaTeX, a row per figure."""


def render(reports, options):
    lines = [f"{entry.figure.row} & {entry.figure.printed} &" for report in reports for entry in report.entries]
    return "\n".join(lines) + "\n"
'''


def test_the_help_names_and_describes_every_format() -> None:
    done = subprocess.run([sys.executable, "-m", "segbench", "report", "--help"], capture_output=True, text=True)
    text = " ".join(done.stdout.split())
    assert set(formats()) >= {"csv", "json", "markdown", "terminal"}
    assert all(f"{name}: {says[0].lower()}{says[1:]}" in text for name, says in formats().items())


def test_an_installed_package_adds_a_format(tmp_path: Path) -> None:
    install(
        tmp_path, "segbench-latex", {"latex_rows/table.py": LATEX}, {"segbench.formats": {"latex": "latex_rows.table"}}
    )
    command = [sys.executable, "-m", "segbench", "report", "contextrast-table7", "--out", str(tmp_path / "runs")]
    done = subprocess.run(
        [*command, "--format", "latex"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout.splitlines()[0] == "baseline & 70.01 &", done.stderr


def test_unknown_names() -> None:
    with pytest.raises(UsageFault, match=r"No format 'pdf'\. Known: csv, json, markdown, terminal\."):
        render([], "pdf")
    with pytest.raises(UsageFault, match=r"No format 'mardown'\. Close: markdown\."):
        render([], "mardown")
