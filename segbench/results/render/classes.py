"""IoU by class: a line per row and class where some are printed, otherwise a line per class and a column per row."""

from collections.abc import Iterator
from typing import Any

from segbench.results.flat import class_rows
from segbench.results.verdicts import TableReport

from .blocks import Cell, Column, Section, Table
from .cells import number

SIDE_BY_SIDE = 6  # rows that fit beside each other
_LONG = (
    Column("row"),
    Column("class"),
    Column("published", "number"),
    Column("measured", "number"),
    Column("diff", "number"),
)


def class_sections(report: TableReport) -> Iterator[Section]:
    """Yield a section per data set; none for data sets of which nothing is known by class."""
    for dataset in dict.fromkeys(row.dataset for row in report.rows):
        rows = list(class_rows(report, dataset=dataset))
        if not rows:
            continue
        places = {row.shown.on for row in report.rows if row.shown and row.dataset == dataset}
        on = "".join(f", on {place}" for place in sorted(filter(None, places)))
        titles = list(dict.fromkeys((row["row"], row["title"]) for row in rows))
        short = len(titles) <= SIDE_BY_SIDE and not any(row["printed"] for row in rows)
        table = _side_by_side(titles, rows) if short else Table(_LONG, tuple(_line(row) for row in rows))
        yield Section(f"{report.table} · {dataset}{on} · IoU by class (%)", (table,))


def _line(row: dict[str, Any]) -> tuple[Cell, ...]:
    measured, difference = number(row["measured"], 2), number(row["difference"], 2, sign=True)
    return tuple(map(Cell, (row["title"], row["class"], row["printed"] or "-", measured, difference)))


def _side_by_side(titles: list[tuple[str, str]], rows: list[dict[str, Any]]) -> Table:
    measured = {(row["row"], row["class"]): row["measured"] for row in rows}
    lines = tuple(
        (Cell(name), *(Cell(number(measured.get((row, name)), 2)) for row, _ in titles))
        for name in dict.fromkeys(row["class"] for row in rows)
    )
    return Table((Column("class"), *(Column(title, "number") for _, title in titles)), lines)
