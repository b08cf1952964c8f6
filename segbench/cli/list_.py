"""``segbench list``: papers, tables, rows, figures, and what runs here."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common

if TYPE_CHECKING:
    from segbench.recipe.catalog import Catalog
    from segbench.recipe.resolve import Resolved


def command(
    table: Annotated[str | None, typer.Argument(help="Only the rows of this table.", show_default=False)] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Every printed figure instead of rows.")] = False,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,
    json: common.Json = False,
) -> None:
    """Papers, tables and rows, and what runs today.

    segbench list

    segbench list contextrast-table6 --json
    """
    catalog = common.open_catalog(recipe)
    names = [catalog.table(table).name] if table else list(catalog.tables)
    if figures:
        _figures(catalog, names, as_json=json)
        return
    rows = [_row(catalog, name, row) for name in names for row in catalog.table(name).file.rows]
    if json:
        common.print_json(rows)
    elif table:
        _rows(catalog, rows)
    else:
        _tables(catalog, rows, data_root)


def _row(catalog: "Catalog", table: str, row: str) -> dict[str, Any]:
    from segbench.models.labels import model_label
    from segbench.recipe.resolve import resolve

    found = catalog.table(table)
    resolved = [resolve(catalog, table, row, dataset) for dataset in found.datasets(row)]
    waits = {item.dataset: item.waits for item in resolved}
    first = resolved[0].ran.training
    stage = first.stages[-1] if first else None
    return {
        "paper": found.paper,
        "table": table,
        "row": row,
        "title": found.row(row).title,
        "datasets": [item.dataset for item in resolved],
        "method": " -> ".join(stage.method.name for stage in first.stages) if first else None,
        "model": model_label(stage.model) if stage else None,
        "figures": len(found.figures(row)),
        "status": _status(list(waits.values()), resolved),
        "status_by_dataset": {name: _one_status(lacks) for name, lacks in waits.items()},
    }


def _one_status(lacks: list[str]) -> str:
    return f"waiting: {', '.join(lacks)}" if lacks else "runnable"


def _status(waits: list[list[str]], resolved: "list[Resolved]") -> str:
    """A row is runnable if it is on at least one of its data sets; ``status_by_dataset`` tells which."""
    if any(not lacks for lacks in waits):
        return "runnable"
    return _one_status(list(dict.fromkeys(lack for lacks in waits for lack in lacks)))


def _figures(catalog: "Catalog", names: list[str], *, as_json: bool) -> None:
    entries = [figure for name in names for figure in catalog.table(name).figures()]
    data = [
        {
            "table": figure.table,
            "row": figure.row,
            "dataset": figure.dataset,
            "split": figure.split,
            "metric": figure.metric,
            "class": figure.class_name,
            "printed": figure.printed,
            "value": figure.value,
            "baseline": figure.over,
            "runs": figure.runs,
            "note": figure.note,
        }
        for figure in entries
    ]
    if as_json:
        common.print_json(data)
        return
    from rich.table import Table

    view = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("table", "row", "data", "split", "metric", "class"):
        view.add_column(name)
    view.add_column("printed", justify="right")
    view.add_column("read as", justify="right")
    for item in entries:
        view.add_row(
            item.table, item.row, item.dataset, item.split, item.metric, item.class_name or "", item.printed,
            item.read_as or "",
        )  # fmt: skip
    common.show(view, f"\n{len(entries)} printed figures.")


def _rows(catalog: "Catalog", rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = catalog.table(rows[0]["table"])
    view = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("row", "data", "method", "model", "status"):
        view.add_column(name, overflow="fold")
    for row in rows:
        for dataset, status in row["status_by_dataset"].items():
            view.add_row(row["row"], dataset, row["method"] or "", row["model"] or "", status)
    common.show(
        f"[bold]{table.name}[/]  {table.file.title}",
        view,
        f"\nNext: segbench show {table.name}/{rows[0]['row']}",
    )


def _tables(catalog: "Catalog", rows: list[dict[str, Any]], data_root: Any) -> None:
    from rich.table import Table

    view = Table(box=None, pad_edge=False, header_style="bold")
    view.add_column("paper")
    view.add_column("table", no_wrap=True)
    view.add_column("rows", justify="right")
    view.add_column("figures", justify="right")
    view.add_column("data", overflow="fold")
    view.add_column("here", overflow="fold")
    pairs = figures = 0
    for name, table in catalog.tables.items():
        own = [row for row in rows if row["table"] == name]
        datasets = list(dict.fromkeys(dataset for row in own for dataset in row["datasets"]))
        count = sum(row["figures"] for row in own)
        figures += count
        pairs += sum(len(row["datasets"]) for row in own if row["figures"])
        view.add_row(
            table.paper, name, str(len(own)), str(count) if count else "-", ", ".join(datasets), _here(own, data_root)
        )
    common.show(
        view,
        f"\n{len(catalog.tables)} tables, {pairs} row x data set pairs with figures, {figures} printed figures. "
        "Some need no training: segbench reproduce contextrast-table7",
        "Next: segbench show contextrast-table6",
    )


def _here(rows: list[dict[str, Any]], data_root: Any) -> str:
    from segbench.data import places
    from segbench.data.describe import data_status
    from segbench.data.reader import is_readable

    statuses = [status for row in rows for status in row["status_by_dataset"].values()]
    runnable = sum(status == "runnable" for status in statuses)
    if runnable == 0:
        lacks = dict.fromkeys(lack for status in statuses for lack in status.removeprefix("waiting: ").split(", "))
        return f"waits for {', '.join(list(lacks)[:3])}" + (" ..." if len(lacks) > 3 else "")
    parts = [f"{runnable} of {len(statuses)} runnable"]
    needed = {name for row in rows for name, status in row["status_by_dataset"].items() if status == "runnable"}
    parts += [
        f"{name} {data_status(name, places.data_root(data_root))}" for name in sorted(needed) if is_readable(name)
    ]
    return " · ".join(parts)
