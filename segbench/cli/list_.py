"""``segbench list``: papers, tables, rows, figures, and their status on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.core.errors import UsageFault

from . import common

if TYPE_CHECKING:
    from segbench.recipe.catalog import Catalog


WAITING = "waiting: "


def command(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only the rows of this table.")] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Every printed figure instead of rows.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="The GPU memory that rows of TABLE fit; seconds.")] = False,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,
    json: common.Json = False,
) -> None:
    """Papers, tables and rows, and what runs here.

    \b
    Examples:
      segbench list
      segbench list contextrast-table6 --json
    """
    catalog = common.open_catalog(recipe)
    names = [catalog.table(table).name] if table else list(catalog.tables)
    if figures:
        _figures(catalog, names, as_json=json)
        return
    rows = [_row(catalog, name, row) for name in names for row in catalog.table(name).file.rows]
    if memory:
        if table is None and not json:
            raise UsageFault("--memory requires a table, or --json for all of them.", next="segbench doctor")
        _add_fits(catalog, names, rows)
    if json:
        common.print_json(rows)
    elif table:
        _rows(catalog, rows, data_root)
    else:
        _tables(catalog, rows, data_root)


def _row(catalog: "Catalog", table: str, row: str) -> dict[str, Any]:
    from segbench.models.labels import model_label
    from segbench.recipe.resolve import resolve

    found = catalog.table(table)
    resolved = [resolve(catalog, table, row, dataset) for dataset in found.datasets(row)]
    unsupported = {item.dataset: item.unsupported for item in resolved}
    first = resolved[0].ran.training
    stage = first.stages[-1] if first else None
    return {
        "paper": found.paper,
        "table": table,
        "additional": found.file.additional,
        "row": row,
        "title": found.row(row).title,
        "datasets": [item.dataset for item in resolved],
        "method": " -> ".join(stage.method.name for stage in first.stages) if first else None,
        "model": model_label(stage.model) if stage else None,
        "figures": len(found.figures(row)),
        "status": _status(list(unsupported.values())),
        "status_by_dataset": {name: _one_status(missing) for name, missing in unsupported.items()},
    }


def _add_fits(catalog: "Catalog", names: list[str], rows: list[dict[str, Any]]) -> None:
    """Add the memory that every trainable row needs on each data set, and the smallest GPU that has it."""
    from segbench.capacity.fits import requirements, size_class

    with common.busy("Estimating the memory of every row; kept for the next time ..."):
        found = {
            (each.resolved.table.name, each.resolved.row, each.resolved.dataset): each
            for each in requirements(catalog, names)
        }
        for row in rows:
            own = {name: found.get((row["table"], row["row"], name)) for name in row["datasets"]}
            row["memory_bytes"] = {name: need.published if need else None for name, need in own.items()}
            row["fits_gb"] = {name: size_class(need.published) if need else None for name, need in own.items()}


def _one_status(missing: list[str]) -> str:
    return f"{WAITING}{', '.join(missing)}" if missing else "runnable"


def _status(unsupported: list[list[str]]) -> str:
    """Return the status of a row, runnable if one of its data sets is; ``status_by_dataset`` tells which."""
    if not all(unsupported):
        return "runnable"
    return _one_status(list(dict.fromkeys(each for missing in unsupported for each in missing)))


def _figures(catalog: "Catalog", names: list[str], *, as_json: bool) -> None:
    entries = [figure for name in names for figure in catalog.table(name).figures()]
    if as_json:
        common.print_json([figure.as_json() for figure in entries])
        return
    from rich.text import Text

    view = common.table("table", "row", "data", "split", "metric", "class", "printed", "read as", right=("printed",))
    for figure in entries:
        view.add_row(
            figure.table, figure.row, figure.dataset, figure.split, figure.metric, figure.class_name or "",
            figure.printed, figure.read_as or "",
        )  # fmt: skip
    count = f"\n{common.many(len(entries), 'printed figure')}."
    shown = names[0] if len(names) == 1 else "contextrast-table6"
    common.show(view, Text(f"{count}\nNext: segbench report {shown}"))


def _rows(catalog: "Catalog", rows: list[dict[str, Any]], data_root: Path | None) -> None:
    from rich.text import Text

    table = catalog.table(rows[0]["table"])
    right = ("figures", *(["fits"] if "fits_gb" in rows[0] else []))
    wide = [] if common.is_narrow() else ["title", "model"]  # left out on a narrow terminal
    view = common.table("row", *wide, "data", "method", *right, "status", right=right)
    view.columns[0].no_wrap = True
    statuses = _statuses({name for row in rows for name in row["datasets"]}, data_root)
    absent = {name: f" · data {status}" for name, status in statuses.items() if status != "ready"}
    for row in rows:
        for dataset, status in row["status_by_dataset"].items():
            count = sum(figure.dataset == dataset for figure in table.figures(row["row"]))
            fits = [_fits(row["memory_bytes"][dataset], row["fits_gb"][dataset])] if "fits_gb" in row else []
            named = [Text(row["title"] or ""), row["model"] or ""] if wide else []
            view.add_row(
                row["row"], *named, dataset, row["method"] or "", str(count) if count else "-", *fits,
                f"{status}{absent.get(dataset, '')}" if status == "runnable" else status,
            )  # fmt: skip
    runs = next((row["row"] for row in rows if row["status"] == "runnable"), None)
    follow = [f"segbench show {table.name}/{runs or rows[0]['row']}"]
    follow += [f"segbench reproduce {table.name} --dry-run"] if runs else []
    common.show(
        Text(f"{table.name}  {table.file.title}\n{table.file.source}."),
        view,
        Text("\n" + "\n".join(f"Next: {command}" for command in follow)),
    )


def _statuses(names: set[str], data_root: Path | None) -> dict[str, str]:
    """Return the status (``ready``, ``missing`` ...) of every data set that can be read."""
    from segbench.data.handle import find_dataset
    from segbench.data.presence import presence
    from segbench.data.reader import is_readable

    return {name: presence(find_dataset(name, data_root)).status for name in sorted(names) if is_readable(name)}


def _fits(memory_bytes: int | None, size: int | None) -> str:
    """Return ``24 GB``, ``more`` if it exceeds all classes, or ``-`` if nothing is trained."""
    if memory_bytes is None:
        return "-"
    return "more" if size is None else f"{size} GB"


def _tables(catalog: "Catalog", rows: list[dict[str, Any]], data_root: Path | None) -> None:
    from rich.text import Text

    personal = ""
    if any(table.personal for table in catalog.tables.values()):
        personal = f"Your own: {_totals(catalog, rows, personal=True)}.\n"
    view = common.table("table", "rows", "figures", "data", "here", right=("rows", "figures"))
    view.columns[0].no_wrap = True
    view.columns[3].min_width = max(len(name) for row in rows for name in row["datasets"]) + 1
    for name in catalog.tables:
        own = [row for row in rows if row["table"] == name]
        datasets = list(dict.fromkeys(dataset for row in own for dataset in row["datasets"]))
        count = sum(row["figures"] for row in own)
        view.add_row(name, str(len(own)), str(count) if count else "-", ", ".join(datasets), _here(own, data_root))
    common.show(
        view,
        Text(
            f"\n{_totals(catalog, rows)}.\n"
            f"Not in the supplements: {_totals(catalog, rows, additional=True)}.\n{personal}"
            "Without training: segbench reproduce contextrast-table7\n"
            "Without data:     segbench reproduce contextrast-table6 --budget smoke\n"
            "Next: segbench list contextrast-table6"
        ),
    )


def _totals(catalog: "Catalog", rows: list[dict[str, Any]], *, additional: bool = False, personal: bool = False) -> str:
    """Return ``16 tables, 107 row x data set pairs with figures, 697 printed figures``."""
    tables = {
        name
        for name, table in catalog.tables.items()
        if table.personal == personal and (personal or table.file.additional == additional)
    }
    printed = [row for row in rows if row["table"] in tables and row["figures"]]
    pairs, figures = sum(len(row["datasets"]) for row in printed), sum(row["figures"] for row in printed)
    return f"{common.many(len(tables), 'table')}, {pairs} row x data set pairs with figures, {figures} printed figures"


def _here(rows: list[dict[str, Any]], data_root: Path | None) -> str:
    statuses = [status for row in rows for status in row["status_by_dataset"].values()]
    runnable = sum(status == "runnable" for status in statuses)
    if runnable == 0:
        missing = dict.fromkeys(each for status in statuses for each in status.removeprefix(WAITING).split(", "))
        named = list(missing)[: 1 if common.is_narrow() else 3]
        more = f" and {len(missing) - len(named)} more" if len(missing) > len(named) else ""
        return f"waits for {', '.join(named)}{more}"
    count = "all rows can run" if runnable == len(statuses) else f"{runnable} of {len(statuses)} row x data can run"
    needed = {name for row in rows for name, status in row["status_by_dataset"].items() if status == "runnable"}
    return " · ".join([count, *(f"{name} {status}" for name, status in _statuses(needed, data_root).items())])
