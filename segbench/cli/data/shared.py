"""Helpers of the commands on data sets."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.cli import common

if TYPE_CHECKING:
    from segbench.data.reader import Finding
    from segbench.data.verify import Verified

Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set.", show_default=False)]

_MARKS = {"ok": " ok  ", "note": " --  ", "fault": " !!  "}
_INDENT = " " * 5


def say_ok(found: "Verified") -> None:
    """Print the findings on a data set that passed."""
    for line in (*found.lines, f"{found.folder}" + (" (as verified before)" if found.remembered else "")):
        say(_MARKS["ok"], line)
    for line in found.notes:
        say(_MARKS["note"], line)
    typer.echo("Next: segbench list")


def say_findings(findings: "Sequence[Finding]", folder: Path) -> None:
    """Print findings with their marks and paths inside the folder; each fix once, below the faults that it fixes."""
    for place, finding in enumerate(findings):
        say(_MARKS[finding.level], finding.text.replace(f"{folder}/", ""))
        following = findings[place + 1] if place + 1 < len(findings) else None
        same = following is not None and (following.fix, following.level) == (finding.fix, finding.level)
        if finding.level == "fault" and finding.fix and not same:
            typer.echo(f"{_INDENT}Next: {finding.fix}")


def say(mark: str, text: str) -> None:
    """Print a line; on a terminal wrapped with a hanging indent, in a pipe left whole."""
    target = common.console()
    if not target.is_terminal:
        typer.echo(mark + text)
        return
    typer.echo(
        textwrap.fill(
            text,
            width=max(target.width, 40),
            initial_indent=mark,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
