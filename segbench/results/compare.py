"""From records to verdicts: one for every printed figure of a table."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from segbench.core.errors import UsageFault
from segbench.recipe.catalog import Catalog, Table
from segbench.recipe.cost import cost_family

from .attempts import Finder
from .judge import Judge
from .pools import BorrowedSpread, Pools
from .statistics import LEVEL, holm
from .store import Store
from .verdicts import Judged, RowReport, TableReport

__all__ = ["BorrowedSpread", "compare_table", "cost_family"]


def compare_table(
    catalog: Catalog,
    table: str,
    store: Store,
    *,
    datasets: Collection[str] | None = None,
    spreads: Sequence[BorrowedSpread] = (),
) -> TableReport:
    """Judge every printed figure of a table by the records of ``store``.

    Args:
        catalog: the recipes.
        table: the table's name.
        store: where the records are; equal trainings count for every row that means them.
        datasets: shown in the report; all by default. Holm's correction always covers the whole table, so that
            looking at a part never makes a verdict easier.
        spreads: measured elsewhere, for rows with too few seeds; their verdicts are provisional.

    Raises:
        UsageFault: no such table or data set.
        InvalidFault: a recipe or a record is invalid.
    """
    found = catalog.table(table)
    pairs = [(row, dataset) for row in found.file.rows for dataset in found.datasets(row)]
    wanted = _wanted(found, pairs, datasets)
    finder = Finder(catalog, found, store)
    judge = Judge(found, finder, Pools(finder, pairs, spreads))
    entries = _decide([judge.figure(figure) for figure in found.figures()])
    return TableReport(
        table=found.name,
        title=found.file.title,
        source=found.file.source,
        version=found.file.version,
        entries=tuple(entry for entry in entries if entry.figure.dataset in wanted),
        rows=tuple(_row(found, finder, row, dataset) for row, dataset in pairs if dataset in wanted),
        contradictions=tuple(contradiction.says for contradiction in found.file.contradictions),
    )


def _wanted(table: Table, pairs: list[tuple[str, str]], datasets: Collection[str] | None) -> set[str]:
    known = dict.fromkeys(dataset for _, dataset in pairs)
    unknown = [name for name in datasets or () if name not in known]
    if unknown:
        raise UsageFault(
            f"{table.name} has no figures on {unknown[0]!r}; it has {', '.join(known)}.",
            next=f"segbench report {table.name}",
        )
    return set(known if datasets is None else datasets)


def _row(table: Table, finder: Finder, row: str, dataset: str) -> RowReport:
    every = finder.tried(row, dataset)
    shown = next((tried for tried in [*every, *finder.tried(row, dataset, "cost")] if tried.records), None)
    sums: dict[str, list[float]] = {}
    for record in shown.records if shown else ():
        for name, value in record.per_class.items():
            sums.setdefault(name, []).extend([] if value is None else [value])
    attempts = [tried for tried in every if tried.records or tried.asked]
    if shown is not None and shown not in attempts:
        attempts.append(shown)  # a count of parameters
    return RowReport(
        row=row,
        title=table.row(row).title or row,
        dataset=dataset,
        plain=every[0].resolved,
        shown=shown,
        attempts=tuple(attempts),
        lost=tuple(finder.lost(row, dataset)),
        per_class={name: sum(values) / len(values) if values else None for name, values in sums.items()},
        over=table.over(row),
    )


def _decide(entries: list[Judged]) -> list[Judged]:
    """Holm's correction over all figures with a p-value, then the word of each."""
    tested = [index for index, entry in enumerate(entries) if entry.p is not None]
    adjusted = holm([entries[index].p or 0.0 for index in tested])
    decided = list(entries)
    for index, p_holm in zip(tested, adjusted, strict=True):
        decided[index] = _word(replace(entries[index], p_holm=p_holm), len(tested))
    return decided


def _word(entry: Judged, figures: int) -> Judged:
    difference, half, margin, p, p_holm = (
        entry.difference or 0.0, entry.half_width or 0.0, entry.margin or 0.0, entry.p or 0.0, entry.p_holm or 0.0
    )  # fmt: skip
    if p_holm < LEVEL:
        return replace(entry, verdict="higher" if difference > 0 else "lower", reason="", next="")
    if p < LEVEL:
        holm_words = f"not after Holm's correction over {figures} figures ({p_holm:.3f})"
        reason = f"outside its own interval (p {p:.3f}), but {holm_words}"
        return replace(entry, verdict="undecided", reason=reason)
    if half <= margin:
        return replace(entry, verdict="reproduced", reason="", next="")
    return replace(entry, verdict="undecided")
