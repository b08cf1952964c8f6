"""Check of what is to be run: table, row and data set. Free of torch."""

from collections.abc import Sequence

from segbench.core.errors import UsageFault
from segbench.core.registry import is_registered
from segbench.recipe.catalog import Catalog


def require_target(
    catalog: Catalog, table: str, row: str | None, dataset: str | None, *, on: str | None, budget: str
) -> None:
    """Raise unless there are such rows, with figures on the data set, and with one protocol for ``on``.

    Args:
        catalog: the recipes.
        table, row: what is to be run; all rows for None.
        dataset: only figures of this data set.
        on: data set to run on instead.
        budget: name of the budget, for the next command.

    Raises:
        UsageFault: unknown table, row or data set; or several protocols of which ``on`` needs one.
    """
    found = catalog.table(table)
    if row is not None:
        found.row(row)
    target = table + (f"/{row}" if row else "")
    rows: Sequence[str] = [row] if row is not None else list(found.file.rows)
    known = list(dict.fromkeys(name for item in rows for name in found.datasets(item)))
    small = "" if budget == "full" else f" --budget {budget}"
    if on is not None and dataset is None and len(known) > 1 and on not in known:
        raise UsageFault(
            f"{target} has protocols for {', '.join(known)}: --on needs --dataset to choose one of them.",
            next=f"segbench reproduce {target} --dataset {known[0]} --on {on}{small}",
        )
    if dataset is not None and dataset not in known:
        there = is_registered("dataset", dataset)
        raise UsageFault(
            f"{found.name} has no figures on {dataset!r}; it has {', '.join(known)}.",
            next=f"segbench reproduce {target} --on {on or dataset}{small}" if there else f"segbench list {found.name}",
        )
