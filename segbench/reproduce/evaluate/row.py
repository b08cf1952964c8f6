"""Rows whose published protocol scores a checkpoint. Free of torch."""

from collections.abc import Sequence
from dataclasses import replace

from segbench.core.errors import UsageFault
from segbench.recipe.catalog import Catalog
from segbench.recipe.released import ReleasedWeights
from segbench.recipe.resolve import Request, resolve

from .request import EvalRequest, Readings, ScoredRow


def scored_row(
    catalog: Catalog, table: str, row: str, dataset: str | None = None, readings: Readings = ()
) -> ScoredRow:
    """Return a row with its published protocol.

    Raises:
        UsageFault: no such table, row or data set; several data sets of which none is named; or nothing is scored.
        InvalidFault: its protocol has faults.
    """
    known = catalog.table(table).datasets(row)
    if dataset is None and len(known) > 1:
        raise UsageFault(
            f"{table}/{row} has figures on {', '.join(known)}: --dataset chooses one of them.",
            next=f"the same command with --dataset {known[0]}",
        )
    found = resolve(catalog, table, row, dataset or known[0], Request(readings=readings))
    spec = found.published.evaluation
    if spec is None:
        raise UsageFault(f"{table}/{row} scores no network.", next=f"segbench show {table}/{row}")
    return ScoredRow(table, row, found.dataset, spec, readings)


def as_row(request: EvalRequest, row: ScoredRow) -> EvalRequest:
    """Return a request whose data and protocol are those of a row."""
    data = row.spec.data
    return replace(request, dataset=data.name, split=data.splits[0], classes=data.classes, row=row)


def released_rows(
    catalog: Catalog, table: str, *, row: str | None = None, dataset: str | None = None, readings: Readings = ()
) -> list[tuple[ReleasedWeights, ScoredRow]]:
    """Return the released weights that stand for rows of a table, each with its row.

    Raises:
        UsageFault: no such table, row or data set, or no weights stand for any of these rows.
    """
    found = catalog.table(table)
    rows: Sequence[str] = [row] if row is not None else list(found.file.rows)
    pairs = [(name, each) for name in rows for each in found.datasets(name) if dataset in (None, each)]
    released = [each for name, of in pairs if (each := catalog.released_for(table, name, of)) is not None]
    if not released:
        beside = catalog.released.get(found.paper)
        says = f" {beside.file.says}" if beside is not None else ""
        target = table + (f"/{row}" if row else "")
        fault = f"No released weights stand for {target}.{says}"
        raise UsageFault(
            fault, next=f"segbench eval --checkpoint FILE --as {table}/{row or 'ROW'}, for weights you have"
        )
    return [(each, scored_row(catalog, table, each.name, each.dataset, readings)) for each in released]
