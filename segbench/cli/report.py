"""``segbench report``: the results so far, against what was printed."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.core.errors import ExitCode, UsageFault

from . import common

if TYPE_CHECKING:
    from segbench.recipe.catalog import Catalog
    from segbench.results.store import Store
    from segbench.results.verdicts import TableReport

GOOD = ("reproduced", "shown", "faster", "slower")


def command(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Default: all tables with results.")] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="NAME", help="terminal, markdown, csv or json.")
    ] = "terminal",
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only this data set.")] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="IoU by class as well.")] = False,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FOLDER", help="Write report and records below this folder."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 6 unless every verdict is good.")] = False,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,  # own data sets that the recipe names are registered from there
    out: common.Out = None,
    json: common.Json = False,
) -> None:
    """Published, measured, difference, verdict, and why.

    \b
    Examples:
      segbench report contextrast-table6
      segbench report --format markdown --per-class
    """
    from segbench.results.compare import compare_table
    from segbench.results.render import FORMATS

    form = "json" if json else form
    if form not in FORMATS:
        raise UsageFault(f"No format {form!r}. Known: {', '.join(FORMATS)}.", next="segbench report --format markdown")
    catalog = common.open_catalog(recipe)
    store = common.open_store(out)
    if table is None and not store.attempts() and not any(store.records()):
        names = []
    else:
        names = [catalog.table(table).name] if table else list(catalog.tables)
    datasets = [dataset] if dataset else None
    reports = [compare_table(catalog, name, store, datasets=datasets) for name in names]
    if table is None:
        reports = [report for report in reports if any(row.shown for row in report.rows)]
    if not reports and form in ("terminal", "markdown"):
        typer.echo(f"There are no results yet in {store.root}.")
        typer.echo("Next: segbench reproduce contextrast-table6 --budget smoke")
        return
    _print(reports, form, per_class=per_class, repeat=repeated(dataset, data_root, out))
    if save is not None:
        from segbench.results.save import save_reports

        for path in save_reports(reports, store, save):
            typer.echo(f"wrote {path}", err=True)
    if strict and not all(_holds(report) for report in reports):
        raise typer.Exit(ExitCode.OUTSIDE)


def repeated(dataset: str | None, data_root: Path | None, out: Path | None) -> tuple[tuple[str, str], ...]:
    """What the next command must be told again."""
    given = {"--dataset": dataset, "--data-root": data_root, "--out": out}
    return tuple((option, str(value)) for option, value in given.items() if value is not None)


def finish(
    catalog: "Catalog",
    table: str,
    store: "Store",
    *,
    datasets: list[str] | None,
    as_json: bool,
    repeat: tuple[tuple[str, str], ...],
) -> bool:
    """Show a table's verdicts after a run; returns whether all of them are good."""
    from segbench.results.compare import compare_table

    report = compare_table(catalog, table, store, datasets=datasets)
    _print([report], "json" if as_json else "terminal", per_class=False, repeat=repeat)
    return _holds(report)


def _holds(report: "TableReport") -> bool:
    return all(verdict in GOOD for verdict in report.counts())


def _print(reports: "list[TableReport]", form: str, *, per_class: bool, repeat: tuple[tuple[str, str], ...]) -> None:
    from segbench.results.render import render

    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else common.PIPE_WIDTH
    color = on_terminal and not common.console().no_color
    if form == "terminal":  # what is kept or passed on says nothing of this machine's folders
        reports = [replace(report, repeat=repeat) for report in reports]
    typer.echo(render(reports, form, per_class=per_class, width=width, color=color).rstrip("\n"))
