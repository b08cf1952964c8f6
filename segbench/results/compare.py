"""From records to verdicts: one for every printed figure of a table."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from segbench.core.errors import UsageFault
from segbench.recipe.catalog import Catalog, Table
from segbench.recipe.claims import Claim

from .claims import judge_claim
from .gains import measure_gains
from .judge import Judge
from .pools import Pools
from .rescored import rescored
from .snapshot import Snapshot
from .statistics import holm
from .store import Store
from .variants import RowVariants, TableVariants, gather_variants, has_results, only_budget
from .verdicts import FigureVerdict, RowReport, TableReport


def compare_table(
    catalog: Catalog,
    table: str,
    store: Store,
    *,
    datasets: Collection[str] | None = None,
) -> TableReport:
    """Judge every printed figure of one table, see ``compare_tables``."""
    return compare_tables(catalog, [table], store, datasets=datasets)[0]


def compare_tables(
    catalog: Catalog,
    tables: Sequence[str],
    store: Store,
    *,
    datasets: Collection[str] | None = None,
    with_results: bool = False,
    budget: str | None = None,
) -> list[TableReport]:
    """Judge every printed figure of some tables by the records of a store, which is read once.

    Args:
        catalog: the recipes.
        tables: names of the tables.
        store: where the records are; equal trainings count for every row that means them.
        datasets: data sets to show; all by default. Holm's correction always covers the whole table.
        with_results: leave out tables without any result, which is cheaper than to judge them.
        budget: show the runs of this budget alone.

    Returns:
        A report per table, in the order given.

    Raises:
        UsageFault: no such table or data set.
        InvalidFault: a recipe or a record is invalid.
    """
    found = [catalog.table(name) for name in tables]
    snapshot = Snapshot(store)
    if with_results:
        found = [table for table in found if has_results(catalog, table, snapshot)]
    shown = [_shown(table, datasets) for table in found]
    pools = Pools(snapshot.trainings(), catalog.spreads)
    gathered = _Gathered(catalog, snapshot, budget)
    return [
        _compare(catalog, table, snapshot, pools, gathered, datasets=names)
        for table, names in zip(found, shown, strict=True)
    ]


class _Gathered:
    """Variants of tables, each gathered once; a claim of one table may name rows of another one."""

    def __init__(self, catalog: Catalog, snapshot: Snapshot, budget: str | None) -> None:
        self._catalog, self._snapshot, self._budget = catalog, snapshot, budget
        self._tables: dict[str, TableVariants] = {}

    def of(self, table: Table) -> TableVariants:
        """Return the variants of a table."""
        if table.name not in self._tables:
            found = gather_variants(self._catalog, table, self._snapshot)
            self._tables[table.name] = found if self._budget is None else only_budget(found, self._budget)
        return self._tables[table.name]

    def row(self, table: Table, name: str, dataset: str) -> RowReport:
        """Return a row of a table, or of another one as ``TABLE/ROW``."""
        other, _, row = name.rpartition("/")
        home = self._catalog.table(other) if other else table
        return _row(home, row, dataset, self.of(home).rows[row, dataset])


def _compare(
    catalog: Catalog, table: Table, snapshot: Snapshot, pools: Pools, gathered: _Gathered, *, datasets: set[str]
) -> TableReport:
    variants = gathered.of(table)
    judge = Judge(table, variants, pools)
    entries = [
        entry
        for entry in _adjusted([judge.figure(figure) for figure in table.figures()])
        if entry.figure.dataset in datasets
    ]
    entries = [replace(entry, rescored=rescored(entry.figure, catalog, table, variants, snapshot)) for entry in entries]
    rows = [_row(table, row, dataset, own) for (row, dataset), own in variants.rows.items() if dataset in datasets]
    report = TableReport(
        table=table.name,
        title=table.file.title,
        source=table.file.source,
        version=table.file.version,
        entries=tuple(entries),
        rows=tuple(rows),
        released=_released(catalog, table),
        claims=tuple(
            judge_claim(claim, catalog, lambda name, dataset: gathered.row(table, name, dataset), pools)
            for claim in _claims(catalog, table)
        ),
        sentences=tuple(table.file.claims),
        contradictions=tuple(contradiction.says for contradiction in table.file.contradictions),
    )
    return replace(report, gains=tuple(measure_gains(report, pools)))


def _claims(catalog: Catalog, table: Table) -> list[Claim]:
    beside = catalog.claims.get(table.paper)
    return [claim for claim in beside.file.claims if claim.table == table.name] if beside is not None else []


def _released(catalog: Catalog, table: Table) -> str:
    """Say which weights were released for the rows of a table; empty if it prints no score."""
    beside = catalog.released.get(table.paper)
    if beside is None or not any(figure.kind == "trained" for figure in table.figures()):
        return ""
    own = [each for each in beside.file.weights if each.table == table.name]
    sure = "" if beside.file.confidence == "high" else f" ({beside.file.source})"
    said = f"Released weights: {beside.file.says.removesuffix('.')}{sure}."
    if not own:
        return f"{said} None stands for a row of this table."
    names = ", ".join(dict.fromkeys(each.name for each in own))
    return f"{said} To score those that stand for {names}: segbench reproduce {table.name} --weights released"


def _shown(table: Table, datasets: Collection[str] | None) -> set[str]:
    known = dict.fromkeys(dataset for row in table.file.rows for dataset in table.datasets(row))
    unknown = [name for name in datasets or () if name not in known]
    if unknown:
        raise UsageFault(
            f"{table.name} has no figures on {unknown[0]!r}; it has {', '.join(known)}.",
            next=f"segbench report {table.name}",
        )
    return set(known if datasets is None else datasets)


def _row(table: Table, row: str, dataset: str, variants: RowVariants) -> RowReport:
    shown = next((each for each in (*variants.training, *variants.cost) if each.records), None)
    by_class: dict[str, list[float]] = {}
    for record in shown.records if shown else ():
        for name, value in record.per_class.items():
            by_class.setdefault(name, []).extend([] if value is None else [value])
    attempts = [variant for variant in variants.training if variant.records or variant.requested]
    if shown is not None and shown not in attempts:
        attempts.append(shown)  # a count of parameters
    return RowReport(
        row=row,
        title=table.row(row).title or row,
        dataset=dataset,
        plain=variants.training[0].resolved,
        shown=shown,
        attempts=tuple(attempts),
        lost=variants.lost,
        per_class={name: sum(values) / len(values) if values else None for name, values in by_class.items()},
        over=table.over(row),
    )


def _adjusted(entries: list[FigureVerdict]) -> list[FigureVerdict]:
    """Add Holm's adjusted p-values, over the values of the table and over its gains apart."""
    adjusted = list(entries)
    for relative in (False, True):
        family = [
            at for at, entry in enumerate(entries) if entry.p is not None and entry.figure.is_relative == relative
        ]
        for at, p_holm in zip(family, holm([entries[at].p or 0.0 for at in family]), strict=True):
            adjusted[at] = replace(entries[at], p_holm=p_holm)
    return adjusted
