"""``segbench report``: the results so far against the published figures."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.core.errors import ExitCode, UsageFault
from segbench.results.formats import check_format, formats

from . import common
from .profiled import Profiles, show_profiles

if TYPE_CHECKING:
    from segbench.recipe.catalog import Catalog
    from segbench.results.report import Report
    from segbench.results.store import Store

GOOD = ("reproduced", "shown", "faster", "slower")
_FORMATS = "; ".join(f"{name}: {says[:1].lower()}{says[1:]}" for name, says in formats().items()) + "."


def command(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Default: all tables with results.")] = None,
    form: Annotated[str, typer.Option("--format", metavar="NAME", help=_FORMATS)] = "terminal",
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only this data set.")] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="NAME", help="Only runs of this budget: full, small or smoke.")
    ] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="IoU by class as well.")] = False,
    deviations: Annotated[bool, typer.Option("--deviations", help="All deviations, not a line of them.")] = False,
    profile: Profiles = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FOLDER", help="Write report and records below this folder."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 6 unless every verdict is good.")] = False,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,  # registers the user's own data sets, which recipes may name
    out: common.Out = None,
    json: common.Json = False,
) -> None:
    """Published, measured, difference, verdict, and why.

    \b
    Examples:
      segbench report contextrast-table6
      segbench report --format markdown --per-class
    """
    from segbench.results.report import load_report

    form = "json" if json else form
    check_format(form)
    catalog = common.open_catalog(recipe)
    store = common.open_store(out)
    report = load_report(table, store=store, catalog=catalog, dataset=dataset, budget=budget)
    if not report.tables and form not in ("csv", "json"):  # programs get an empty answer
        typer.echo(f"There are no results yet in {store.root}.")
        typer.echo("Next: segbench reproduce contextrast-table6 --budget smoke")
        return
    if profile:
        _profiles(report, store, profile, form)
        return
    repeat = repeated(dataset, data_root, out)
    _print(report, form, per_class=per_class, brief=not deviations, repeat=repeat)
    if save is not None:
        from segbench.results.save import save_reports

        for path in save_reports(report.tables, save):
            typer.echo(f"wrote {path}", err=True)
    if strict and not _is_good(report):
        raise typer.Exit(ExitCode.OUTSIDE)


def _profiles(report: "Report", store: "Store", names: list[str], form: str) -> None:
    """Print the records behind a report under metric profiles: as tables, CSV or JSON.

    Raises:
        UsageFault: an unknown profile, or another format.
    """
    from segbench.metrics.profiles import parse_profiles
    from segbench.results.profiles import profile

    wanted = parse_profiles(names, command="report")
    if form not in ("terminal", "csv", "json"):
        raise UsageFault(
            f"Profiles come as terminal, csv or json, not as {form}.", next="segbench report --profile all"
        )
    rows = [
        (table.table, row.title, record)
        for table in report.tables
        for row in table.rows
        for variant in row.attempts
        for record in variant.records
    ]
    found = [(table, title, profile(record, store, wanted)) for table, title, record in rows]
    if form == "terminal":
        for table, title, each in found:
            seed = f"seed {each.record.seed}, budget {each.record.budget}"
            show_profiles(each, f"{table} · {title} · {each.record.dataset} {each.record.split}, {seed}")
        typer.echo("Verdicts rest on the profile standard, unless a recipe says otherwise.")
        return
    lines = [{"table": table, "row": title, **line} for table, title, each in found for line in each.rows()]
    if form == "json":
        common.print_json(lines)
        return
    import pandas as pd

    typer.echo(pd.DataFrame(lines).to_csv(index=False), nl=False)


def repeated(dataset: str | None, data_root: Path | None, out: Path | None) -> tuple[tuple[str, str], ...]:
    """Return the options that the next command must repeat, each with its value."""
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
    """Show a table's verdicts after a run and return whether all of them are good."""
    from segbench.results.compare import compare_table
    from segbench.results.report import Report

    report = Report((compare_table(catalog, table, store, datasets=datasets),))
    _print(report, "json" if as_json else "terminal", per_class=False, brief=True, repeat=repeat)
    return _is_good(report)


def _is_good(report: "Report") -> bool:
    return all(verdict in GOOD for table in report.tables for verdict in table.counts())


def _print(report: "Report", form: str, *, per_class: bool, brief: bool, repeat: tuple[tuple[str, str], ...]) -> None:
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else common.PIPE_WIDTH
    color = on_terminal and not common.console().no_color
    if form == "terminal":  # saved or shared formats do not show folders of this machine
        report = report.repeating(repeat)
    typer.echo(report.render(form, per_class=per_class, width=width, color=color, brief=brief).rstrip("\n"))
