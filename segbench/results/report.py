"""The report of one or several tables, for notebooks and for the command line."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from segbench.core.errors import UsageFault
from segbench.core.registry import choices
from segbench.recipe.catalog import Catalog
from segbench.recipe.opening import open_catalog

from .claims import judge_mechanism
from .compare import compare_tables
from .formats import render
from .store import Store
from .verdicts import ClaimVerdict, FigureVerdict, TableReport

if TYPE_CHECKING:  # pandas is loaded when a frame is asked for
    import pandas as pd


@dataclass(frozen=True)
class Report:
    """Verdicts of one or several tables; a notebook shows it as Markdown.

    Attributes:
        tables: a report per table.
    """

    tables: tuple[TableReport, ...]

    def frame(self) -> "pd.DataFrame":
        """Return a line per printed figure.

        Columns: ``table``, ``row``, ``dataset``, ``split``, ``metric``, ``class``, ``printed`` (the string), ``value``
        (the number read), ``verdict``, ``measured``, ``difference``, and all that the verdict rests on; they are
        ``segbench.results.flat.ENTRY_FIELDS``. Scores are in percent.
        """
        from .frames import report_frame

        return report_frame(*self.tables)

    def per_class_frame(self) -> "pd.DataFrame":
        """Return the IoU of every class of every row that printed or measured it, in percent.

        Columns: ``table``, ``row``, ``title``, ``dataset``, ``class``, ``printed``, ``published``, ``measured`` (mean
        over seeds), ``difference``.
        """
        from .frames import per_class_frame

        return per_class_frame(*self.tables)

    def to_markdown(self, *, per_class: bool = False) -> str:
        """Return the report as Markdown.

        Args:
            per_class: add the IoU of every class.
        """
        return self.render("markdown", per_class=per_class)

    def render(
        self, form: str, *, per_class: bool = False, width: int = 100, color: bool = False, brief: bool = False
    ) -> str:
        """Return the report in any output format, see ``segbench.results.formats.render``."""
        return render(self.tables, form, per_class=per_class, width=width, color=color, brief=brief)

    def repeating(self, options: tuple[tuple[str, str], ...]) -> "Report":
        """Return the report with options of the command line that its next commands repeat, each with its value."""
        return Report(tuple(replace(table, repeat=options) for table in self.tables))

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def __str__(self) -> str:
        return self.render("terminal")


def load_report(
    table: str | None = None,
    *,
    store: Store,
    catalog: Catalog,
    dataset: str | None = None,
    budget: str | None = None,
) -> Report:
    """Compare the records of a store with the published figures.

    Args:
        table: name of a table; all tables with results by default.
        store: where the records are.
        catalog: the recipes.
        dataset: show only figures of this data set; tables without any are left out.
        budget: show the runs of this budget alone.

    Raises:
        UsageFault: no such table or budget, or no figures on the data set.
        InvalidFault: a recipe or a record is invalid.
    """
    if budget is not None and budget not in ("full", *catalog.budgets):
        known = ["full", *catalog.budgets]
        raise UsageFault(f"No budget {budget!r}. {choices(budget, known)}.", next="segbench report --help")
    names = [table] if table is not None else [] if store.is_empty() else _tables(catalog, dataset)
    wanted = [dataset] if dataset is not None else None
    reports = compare_tables(catalog, names, store, datasets=wanted, with_results=table is None, budget=budget)
    if table is None:
        reports = [
            report
            for report in reports
            if any(row.shown for row in report.rows) or any(entry.rescored for entry in report.entries)
        ]
    return Report(tuple(reports))


def load_figures(
    table: str,
    row: str | None,
    *,
    store: Store,
    catalog: Catalog,
    dataset: str | None = None,
    metric: str | None = None,
) -> tuple[TableReport, list[FigureVerdict]]:
    """Return a table's report and the verdicts of the headline figures of one row.

    Args:
        table, row: the row; None for every row.
        store: where the records are.
        catalog: the recipes.
        dataset: only figures of this data set.
        metric: only figures of this metric.

    Raises:
        UsageFault: no such table, row, data set or metric.
    """
    (found,) = compare_tables(catalog, [table], store, datasets=[dataset] if dataset is not None else None)
    if row is not None:
        catalog.table(table).row(row)
    own = [entry for entry in found.entries if entry.figure.headline and row in (None, entry.figure.row)]
    metrics = list(dict.fromkeys(entry.figure.metric for entry in own))
    if metric is not None and metric not in metrics:
        fault = f"No figure of {metric!r} there. {choices(metric, metrics, word='Metrics')}."
        raise UsageFault(fault, next=f"segbench show {table}")
    if not own:
        raise UsageFault(f"No figure is printed for {table}/{row}.", next=f"segbench list {table}")
    return found, [entry for entry in own if metric in (None, entry.figure.metric)]


def load_claims(paper: str | None, *, store: Store, catalog: Catalog) -> dict[str, list[ClaimVerdict]]:
    """Judge the claims of one paper, or of all, by the records of a store.

    Raises:
        UsageFault: no such paper, or it has no claims.
    """
    if paper is not None and paper not in catalog.claims:
        raise UsageFault(f"No claims of {paper!r}. {choices(paper, list(catalog.claims))}.", next="segbench claims")
    names = [paper] if paper is not None else list(catalog.claims)
    tables = dict.fromkeys(
        claim.table for name in names for claim in catalog.claims[name].file.claims if claim.table is not None
    )
    reports = compare_tables(catalog, list(tables), store)
    judged = {(report.table, each.claim.name): each for report in reports for each in report.claims}
    return {
        name: [
            judged[claim.table, claim.name] if claim.table is not None else judge_mechanism(claim)
            for claim in catalog.claims[name].file.claims
        ]
        for name in names
    }


def report(
    table: str | None = None,
    *,
    dataset: str | None = None,
    recipe: Path | str | None = None,
    out: Path | str | None = None,
) -> Report:
    """Compare the results so far with the published figures.

    Args:
        table: name of a table; all tables with results by default.
        dataset: only figures of this data set.
        recipe: recipe file of your own.
        out: folder of runs and records; None for ``SEGBENCH_RESULTS`` or the user's own.

    Raises:
        UsageFault: no such table, or no figures on the data set.
        InvalidFault: a recipe or a record is invalid.
    """
    catalog = open_catalog(None if recipe is None else Path(recipe))
    return load_report(table, store=Store(None if out is None else Path(out)), catalog=catalog, dataset=dataset)


def _tables(catalog: Catalog, dataset: str | None) -> list[str]:
    """Return the names of all tables, or of those with rows on a data set.

    Raises:
        UsageFault: no table has any.
    """
    if dataset is None:
        return list(catalog.tables)
    datasets = {
        name: {each for row in table.file.rows for each in table.datasets(row)}
        for name, table in catalog.tables.items()
    }
    found = [name for name, own in datasets.items() if dataset in own]
    if not found:
        known = sorted(set().union(*datasets.values()))
        raise UsageFault(f"No table has figures on {dataset!r}. {choices(dataset, known)}.", next="segbench list")
    return found
