"""Measured results that a project keeps: one folder a table, written by a run's own numbers alone."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segbench.core import atomic

from .render import render
from .store import Store
from .verdicts import TableReport

PATH_OPTIONS = ("--data-root", "--out", "--recipe", "--checkpoint", "--save")


def save_reports(reports: Sequence[TableReport], store: Store, folder: Path) -> list[Path]:
    """Write ``TABLE/report.md`` and ``.txt``, ``TABLE/figures.csv`` and ``TABLE/records.json`` for every report.

    The records are those of every attempt, whether it is the one shown or not.

    Returns:
        The files written.

    Raises:
        RunFault: the disk is full or not writable.
    """
    written = []
    records = {record.id: record for record in store.records()}
    for report in reports:
        place = folder / report.table
        atomic.write_text(place / "report.md", render(report, "markdown", per_class=True))
        atomic.write_text(place / "report.txt", render(report, "terminal"))
        atomic.write_text(place / "figures.csv", render(report, "csv"))
        used = [
            _portable(records[entry.id].model_dump(mode="json", by_alias=True))
            for row in report.rows
            for tried in row.attempts
            for entry in tried.records
        ]
        unique = list({record["id"]: record for record in used}.values())
        atomic.write_json(place / "records.json", unique)
        written += [place / name for name in ("report.md", "report.txt", "figures.csv", "records.json")]
    return written


def _portable(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the folders of the machine that measured it."""
    command = record["provenance"].get("command")
    if command is None:
        return record
    words = [Path(word).name if "/" in word and before in PATH_OPTIONS else word for before, word in _pairs(command)]
    return {**record, "provenance": {**record["provenance"], "command": shlex.join(words)}}


def _pairs(command: str) -> list[tuple[str, str]]:
    """Every word of a command with the one before it; ``--option=value`` counts as two."""
    words = [
        part for word in shlex.split(command) for part in (word.split("=", 1) if word.startswith("--") else [word])
    ]
    return list(zip(["", *words], words, strict=False))
