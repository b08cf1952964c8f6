"""Rows that were run although nothing is printed for them: their scores, and their gains over one another."""

from collections.abc import Iterator

from segbench.results.statistics import deviation
from segbench.results.verdicts import RowReport, TableReport

from . import gains
from .blocks import Block, Cell, Column, Section, Table
from .cells import many, number

COLUMNS = (Column("row"), Column("measured", "number"), Column("note", "note"))


def sections(report: TableReport) -> Iterator[Block]:
    """Yield a section for each data set and split."""
    for key, rows in report.unprinted().items():
        places = {(row.shown.records[0].dataset, row.shown.records[0].split) for row in rows if row.shown}
        where = " and ".join(sorted(f"{dataset} {split}" for dataset, split in places))
        table = Table(COLUMNS, tuple(_row(row) for row in rows))
        yield Section(f"{report.table} · {where} · mIoU (%), nothing printed", (table, *gains.blocks(report, key)))


def _row(row: RowReport) -> tuple[Cell, ...]:
    assert row.shown is not None
    scores = [score for record in row.shown.records if (score := record.figures.get("miou")) is not None]
    own = deviation(scores)
    mean = number(sum(scores) / len(scores), 2)
    planned = len(row.shown.planned)
    seeds = f"{len(scores)} of {planned} planned seeds" if planned > len(scores) else many(len(scores), "seed")
    value = mean if own is None else f"{mean} ± {number(own, 2)}"
    return Cell(row.title), Cell(value), Cell(f"{seeds}, {row.shown.label}")
