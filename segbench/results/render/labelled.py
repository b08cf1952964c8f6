"""Labelled subsets behind a report: what the runs share, and classes that none of their labels shows."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from segbench.results.record import Record
from segbench.results.verdicts import RowReport, TableReport

_PAIRS = 6  # of seeds that a report lists


def lines(report: TableReport) -> Iterator[str]:
    """Yield a line for each row whose seeds have labelled images of their own, and for each class that is missing."""
    for row in report.rows:
        if row.shown is not None:
            yield from _shared(row, row.shown.records)
            yield from dict.fromkeys(_missing(row, row.shown.records))  # stages share their labelled images


def shared(first: dict[str, Any], second: dict[str, Any], total: int | None) -> str:
    """Say how many images two subsets share, and how many two random ones would: n1 n2 / N."""
    one, two = set(first["keys"]), set(second["keys"])
    by_chance = f", {len(one) * len(two) / total:.1f} if drawn at random" if total else ""
    return f"{len(one & two):,} of {min(len(one), len(two)):,}{by_chance}"


def _shared(row: RowReport, records: tuple[Record, ...] | list[Record]) -> Iterator[str]:
    subsets = {record.seed: _first(record) for record in records}
    own = {seed: each for seed, each in sorted(subsets.items()) if each is not None and "keys" in each}
    if len({each.get("draw") for each in own.values()}) < 2:  # one choice for all seeds
        return
    pairs = [f"seeds {a} and {b} share {shared(own[a], own[b], _images(records[0]))}" for a, b in combinations(own, 2)]
    more = f"; {len(pairs) - _PAIRS} more pairs" if len(pairs) > _PAIRS else ""
    yield f"{row.title} on {row.dataset}: of the labelled images {'; '.join(pairs[:_PAIRS])}{more}."


def _missing(row: RowReport, records: tuple[Record, ...] | list[Record]) -> Iterator[str]:
    for record in records:
        for each in record.labelled:
            if each.get("missing"):
                names = ", ".join(each["missing"])
                yield f"{row.title} on {row.dataset}, seed {record.seed}: the labelled images show no pixel of {names}."


def _first(record: Record) -> dict[str, Any] | None:
    return record.labelled[0] if record.labelled else None


def _images(record: Record) -> int | None:
    """Return the number of images that the labelled ones are of; None if unknown."""
    found = _first(record)
    total: int | None = found.get("of") if found else None
    return total
