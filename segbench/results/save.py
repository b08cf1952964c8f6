"""Measured results that a project keeps: one folder a table, written by a run's own numbers alone."""

from collections.abc import Sequence
from pathlib import Path

from segbench.core import atomic

from .render import render
from .store import Store
from .verdicts import TableReport


def save_reports(reports: Sequence[TableReport], store: Store, folder: Path) -> list[Path]:
    """Write ``TABLE/report.md`` and ``.txt``, ``TABLE/figures.csv`` and ``TABLE/records.json`` for every report.

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
            records[entry.id].model_dump(mode="json", by_alias=True)
            for row in report.rows
            if row.shown is not None
            for entry in row.shown.records
        ]
        unique = list({record["id"]: record for record in used}.values())
        atomic.write_json(place / "records.json", unique)
        written += [place / name for name in ("report.md", "report.txt", "figures.csv", "records.json")]
    return written
