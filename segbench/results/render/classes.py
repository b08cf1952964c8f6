"""IoU by class: every row and class a line where some are printed, otherwise a line a class and a column a row."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from segbench.results.flat import class_rows
from segbench.results.verdicts import TableReport

from .words import number

COLUMNS = 6  # rows that fit beside each other


@dataclass(frozen=True)
class ClassTable:
    """Cells for one data set.

    Attributes:
        title: what stands above.
        headers: of the columns; the first ``left`` of them are words, the others numbers.
        lines: cells by line.
    """

    title: str
    headers: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    left: int


def class_tables(report: TableReport) -> Iterator[ClassTable]:
    """A table a data set; none for data sets of which nothing is known by class."""
    for dataset in dict.fromkeys(row.dataset for row in report.rows):
        rows = list(class_rows(report, dataset=dataset))
        if not rows:
            continue
        places = {row.shown.resolved.request.on for row in report.rows if row.shown and row.dataset == dataset}
        on = "".join(f", on {place}" for place in sorted(filter(None, places)))
        title = f"{report.table} · {dataset}{on} · IoU by class (%)"
        titles = list(dict.fromkeys((row["row"], row["title"]) for row in rows))
        if len(titles) <= COLUMNS and not any(row["printed"] for row in rows):
            yield _side_by_side(title, titles, rows)
        else:
            lines = tuple(
                (
                    row["title"], row["class"], row["printed"] or "-", number(row["measured"], 2),
                    number(row["difference"], 2, sign=True),
                )
                for row in rows
            )  # fmt: skip
            yield ClassTable(title, ("row", "class", "published", "measured", "diff"), lines, 2)


def _side_by_side(title: str, titles: list[tuple[str, str]], rows: list[dict[str, Any]]) -> ClassTable:
    measured = {(row["row"], row["class"]): row["measured"] for row in rows}
    lines = tuple(
        (name, *(number(measured.get((row, name)), 2) for row, _ in titles))
        for name in dict.fromkeys(row["class"] for row in rows)
    )
    return ClassTable(title, ("class", *(words for _, words in titles)), lines, 1)
