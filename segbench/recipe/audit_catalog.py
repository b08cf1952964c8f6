"""The audit of registered tables: what arithmetic finds, and what was found by reading."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from segbench.core import registry
from segbench.core.errors import SegbenchError
from segbench.core.spec import digest

from .audit import Inconsistency, audit, printed_twice
from .figures import Figure
from .resolve import resolve
from .tables import Catalog, Table


@dataclass(frozen=True)
class TableAudit:
    """Contradictions of one table.

    Attributes:
        table: its name; empty for what stands between tables.
        computed: found by arithmetic from the printed figures.
        read: found by reading the publication, in words.
        figures: number of printed figures that were looked at.
    """

    table: str
    computed: tuple[Inconsistency, ...]
    read: tuple[str, ...] = ()
    figures: int = 0


def audit_table(table: Table) -> TableAudit:
    """Audit one table."""
    found: list[Inconsistency] = []
    figures = table.figures()
    for dataset in dict.fromkeys(figure.dataset for figure in figures):
        own = [figure for figure in figures if figure.dataset == dataset]
        found += audit(own, classes=_classes(dataset))
    read = (" ".join(each.says.split()) for each in table.file.contradictions)
    return TableAudit(table.name, tuple(found), tuple(read), len(figures))


def audit_tables(catalog: Catalog, names: Sequence[str]) -> list[TableAudit]:
    """Audit some tables, and what they print of one and the same quantity."""
    tables = [catalog.table(name) for name in names]
    found = [audit_table(table) for table in tables]
    twice = printed_twice(pair for table in tables for pair in _quantities(catalog, table))
    return [*found, *([TableAudit("", tuple(twice))] if twice else [])]


def _quantities(catalog: Catalog, table: Table) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a table after a digest of what each measures."""
    for figure in table.figures():
        if figure.kind != "trained" or figure.is_relative:
            continue
        try:
            published = resolve(catalog, table.name, figure.row, figure.dataset).published
        except SegbenchError:  # a protocol with faults is told where it is run
            continue
        if published.training is None or published.evaluation is None:
            continue
        what = [published.training.family(), published.evaluation.canonical(), figure.metric, figure.class_name]
        yield digest(what), figure


def _classes(dataset: str) -> int | None:
    """Return the number of classes of a registered data set; None for another one."""
    if not registry.is_registered("dataset", dataset):
        return None
    facts: Any = registry.options_of("dataset", dataset)()
    return len(facts.class_slugs())
