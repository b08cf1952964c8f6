"""``segbench show``: the resolved protocol of a row, every value with its origin, and the readings it rests on."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common

if TYPE_CHECKING:
    from segbench.recipe.catalog import Catalog, Table
    from segbench.recipe.resolve import Resolved


def command(
    target: Annotated[str, typer.Argument(help="TABLE or TABLE/ROW.")],
    dataset: Annotated[str | None, typer.Option("--dataset", help="One of the row's data sets.")] = None,
    budget: Annotated[str, typer.Option("--budget", help="full, small or smoke.")] = "full",
    readings: Annotated[bool, typer.Option("--readings", help="The open points, with all their options.")] = False,
    reading: common.Readings = None,
    setting: common.Settings = None,
    recipe: common.Recipe = None,
    json: common.Json = False,
) -> None:
    """A table's rows, or one row's protocol with the origin of every value.

    segbench show contextrast-table6/layers-4-3 --dataset camvid

    segbench show contextrast-table6 --readings
    """
    catalog = common.open_catalog(recipe)
    table_name, row = common.split_target(target)
    table = catalog.table(table_name)
    if readings:
        _readings(catalog, table, as_json=json)
        return
    if row is None:
        _table(table, as_json=json)
        return
    from segbench.recipe.resolve import Request, resolve

    table.row(row)
    request = Request(budget, readings=common.pairs(reading, "--reading"), settings=common.settings(setting))
    chosen = [dataset] if dataset else list(table.datasets(row))
    resolved = [resolve(catalog, table_name, row, name, request) for name in chosen]
    if json:
        entries = [_as_json(item) for item in resolved]
        common.print_json(entries[0] if dataset else entries)
        return
    for item in resolved:
        _protocol(item)


def _as_json(item: "Resolved") -> dict[str, Any]:
    from segbench.recipe import deviations

    return {
        "schema": 1,
        "table": item.table.name,
        "row": item.row,
        "dataset": item.dataset,
        "budget": item.request.budget,
        "status": f"waiting: {', '.join(item.waits)}" if item.waits else "runnable",
        "training": item.ran.training.id() if item.ran.training else None,
        "values": {
            path: {"value": value, "origin": str(origin), "where": origin.where, "confidence": origin.confidence}
            for path, value, origin in values(item)
        },
        "readings": {
            use.name: {
                "option": use.option,
                "default": use.is_default,
                "question": use.reading.question,
                "says": use.reading.options[use.option].says,
                "source": use.reading.source,
                "confidence": use.confidence,
            }
            for use in item.readings
        },
        "deviations": [deviation.as_json() for deviation in deviations.between(item.published, item.ran)],
        "figures": [
            {"split": f.split, "metric": f.metric, "class": f.class_name, "printed": f.printed, "value": f.value}
            for f in item.figures
        ],
    }


def values(item: "Resolved") -> list[tuple[str, Any, Any]]:
    """(path, value, origin) of every value in force, typed defaults included."""
    from segbench.recipe.protocol import Origin, Traced, flatten, plain
    from segbench.recipe.resolve import typed_values

    said = {path: leaf for path, leaf in flatten(item.tree).items() if isinstance(leaf, Traced)}
    default = Origin("default", source="of segbench")
    entries = [(path, plain(leaf.value), leaf.origin) for path, leaf in said.items()]
    entries += [(path, value, default) for path, value in typed_values(item.ran).items() if path not in said]
    order = ("data", "augmentation", "model", "weights", "method", "schedule", "stages", "evaluation", "cost")
    return sorted(entries, key=lambda entry: (order.index(entry[0].split(".")[0]), entry[0]))


def _protocol(item: "Resolved") -> None:
    from rich.table import Table as View
    from rich.text import Text

    view = View(box=None, pad_edge=False, header_style="bold")
    view.add_column("setting", no_wrap=True)
    view.add_column("value", overflow="fold")
    view.add_column("origin", overflow="fold")
    view.add_column("where", no_wrap=True, style="dim")
    for path, value, origin in values(item):
        view.add_row(path, Text(_text(value)), Text(str(origin)), origin.where)
    title = item.table.row(item.row).title
    printed = ", ".join(
        f"{figure.metric} {figure.printed} ({figure.split})" for figure in item.figures if figure.headline
    )
    common.show(
        Text(f"{item.name} · {item.dataset} · budget {item.request.budget}" + (f" · {title}" if title else "")),
        Text(f"{item.table.file.title}. {item.table.file.source}."),
        Text(f"Printed: {printed}" if printed else "No figures: settings only."),
        view,
    )
    uses = View(box=None, pad_edge=False, header_style="bold", title="Readings it rests on", title_justify="left")
    for name in ("reading", "option", "confidence", "says", "source"):
        uses.add_column(name, overflow="fold")
    for use in item.readings:
        uses.add_row(use.name, use.option, use.confidence, use.reading.options[use.option].says, use.reading.source)
    if item.readings:
        common.show("", uses)
    waits = f"Waits for {', '.join(item.waits)}." if item.waits else "Runs with this version of segbench."
    common.show(Text(f"\n{waits}\nNext: segbench reproduce {item.name} --dataset {item.dataset} --dry-run"))


def _table(table: "Table", *, as_json: bool) -> None:
    from rich.table import Table as View
    from rich.text import Text

    if as_json:
        common.print_json(
            {
                "schema": 1,
                "table": table.name,
                "title": table.file.title,
                "source": table.file.source,
                "version": table.file.version,
                "margin": table.file.margin,
                "rows": {
                    name: {"title": row.title, "datasets": list(table.datasets(name))}
                    for name, row in table.file.rows.items()
                },
                "contradictions": [item.says for item in table.file.contradictions],
            }
        )
        return
    view = View(box=None, pad_edge=False, header_style="bold")
    for name in ("row", "title", "printed"):
        view.add_column(name, overflow="fold")
    for name, row in table.file.rows.items():
        printed = [
            f"{figure.dataset} {figure.split} {figure.metric} {figure.printed}"
            for figure in table.figures(name)
            if figure.headline
        ]
        view.add_row(name, Text(row.title or ""), Text("\n".join(printed)))
    common.show(Text(f"{table.name}  {table.file.title}"), Text(f"{table.file.source}."), view)
    for item in table.file.contradictions:
        common.show(Text(f"† {item.says}"))
    first = next(iter(table.file.rows))
    common.show(Text(f"\nNext: segbench show {table.name}/{first}, segbench show {table.name} --readings"))


def _readings(catalog: "Catalog", table: "Table", *, as_json: bool) -> None:
    from rich.text import Text

    found = catalog.readings_of(table)
    if as_json:
        common.print_json([{"name": name, **reading.model_dump(mode="json")} for name, (reading, _) in found.items()])
        return
    for name, (reading, _) in found.items():
        common.show(Text(f"{name}  [{reading.confidence} confidence]", style="bold"), Text(f"  {reading.question}"))
        for option, meaning in reading.options.items():
            mark = "default" if option == reading.default else ""
            common.show(Text(f"    {option:16} {mark:8} {meaning.says}"))
        common.show(Text(f"    source: {reading.source}\n"))
    common.show(Text(f"Next: segbench reproduce {table.name} --reading NAME=OPTION --dry-run"))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
