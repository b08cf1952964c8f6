"""Results that a project keeps: one folder per table, written by the program alone."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segbench.core import atomic

from .formats import render
from .verdicts import TableReport

PATH_OPTIONS = ("--data-root", "--out", "--recipe", "--checkpoint", "--save")


def save_reports(reports: Sequence[TableReport], folder: Path) -> list[Path]:
    """Write ``TABLE/report.md`` and ``.txt``, ``TABLE/figures.csv`` and ``TABLE/records.json`` for every report.

    The records are those of every attempt, shown or not.

    Returns:
        The files written.

    Raises:
        RunFault: the disk is full or not writable.
    """
    written = []
    for report in reports:
        place = folder / report.table
        atomic.write_text(place / "report.md", render(report, "markdown", per_class=True))
        atomic.write_text(place / "report.txt", render(report, "terminal"))
        atomic.write_text(place / "figures.csv", render(report, "csv"))
        records = {record.id: record for row in report.rows for variant in row.attempts for record in variant.records}
        kept = [_portable(record.model_dump(mode="json", by_alias=True)) for record in records.values()]
        atomic.write_json(place / "records.json", kept)
        written += [place / name for name in ("report.md", "report.txt", "figures.csv", "records.json")]
    return written


def _portable(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without the folders of the machine that measured it."""
    command = record["provenance"].get("command")
    if command is None:
        return record
    words = [Path(word).name if "/" in word and before in PATH_OPTIONS else word for before, word in _pairs(command)]
    return {**record, "provenance": {**record["provenance"], "command": shlex.join(words)}}


def _pairs(command: str) -> list[tuple[str, str]]:
    """Return every word of a command with the one before it; ``--option=value`` counts as two."""
    words = [
        piece for word in shlex.split(command) for piece in (word.split("=", 1) if word.startswith("--") else [word])
    ]
    return list(zip(["", *words], words, strict=False))
