"""``segbench show``: the resolved protocol of a row, the origin of every value, and its readings."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from segbench.recipe.catalog import Catalog, Table
    from segbench.recipe.figures import Figure
    from segbench.recipe.resolve import Resolved

DEFAULT = "default"
_SIZES = ("crop", "size", "window", "stride", "input")  # settings that are a height and a width


def command(
    target: common.Target,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="One of the row's data sets.")
    ] = None,
    on: common.On = None,
    budget: common.Budget = "full",
    readings: Annotated[bool, typer.Option("--readings", help="The open points, with all their options.")] = False,
    reading: common.Readings = None,
    setting: common.Settings = None,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,  # own data sets that the recipe names are registered from there
    json: common.Json = False,
) -> None:
    """A row's whole protocol, the origin of every value; or a table.

    \b
    Examples:
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
    request = Request(
        budget,
        readings=common.pairs(reading, "--reading", command="show"),
        settings=common.settings(setting, command="show"),
        on=on,
    )
    chosen = [dataset] if dataset else list(table.datasets(row))
    resolved = [resolve(catalog, table_name, row, name, request) for name in chosen]
    if json:
        entries = [_as_json(item) for item in resolved]
        common.print_json(entries[0] if dataset else entries)
        return
    for item in resolved:
        _protocol(item)


def _as_json(item: "Resolved") -> dict[str, Any]:
    return {
        "schema": 1,
        "table": item.table.name,
        "row": item.row,
        "dataset": item.dataset,
        "budget": item.request.budget,
        "status": f"waiting: {', '.join(item.unsupported)}" if item.unsupported else "runnable",
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
        "deviations": [deviation.as_json() for deviation in item.deviations],
        "figures": [
            {"split": f.split, "metric": f.metric, "class": f.class_name, "printed": f.printed, "value": f.value}
            for f in item.figures
        ],
    }


def values(item: "Resolved") -> list[tuple[str, Any, Any]]:
    """Return (path, value, origin) of every value of the protocol, typed defaults included."""
    from segbench.recipe.resolve import typed_values
    from segbench.recipe.tree import Origin, Traced, flatten, plain

    said = {path: leaf for path, leaf in flatten(item.tree).items() if isinstance(leaf, Traced)}
    default = Origin(DEFAULT, source="of segbench")
    entries = [(path, plain(leaf.value), leaf.origin) for path, leaf in said.items()]
    staged = tuple(path for path in said if path.startswith("stages."))
    entries += [
        (path, value, default)
        for path, value in typed_values(item.ran).items()
        if path not in said and not any(other.endswith(f".{path}") for other in staged)
    ]
    order = ("data", "augmentation", "model", "weights", "method", "schedule", "stages", "evaluation", "cost")
    return sorted(entries, key=lambda entry: (order.index(entry[0].split(".")[0]), entry[0]))


def _protocol(item: "Resolved") -> None:
    from rich.text import Text

    defaults, rows = [], []
    for path, value, origin in values(item):
        if origin.layer == DEFAULT:
            defaults.append(f"{path}: {_text(value)}")
            continue
        is_size = path.rsplit(".", 1)[-1] in _SIZES and isinstance(value, list | tuple)
        text = "x".join(map(str, value)) if is_size else _text(value)
        rows.append((path, text, str(origin), origin.where))
    title = item.table.row(item.row).title
    common.show(
        Text(f"{item.name} · {item.dataset} · budget {item.request.budget}" + (f" · {title}" if title else "")),
        Text(f"{item.table.file.title}. {item.table.file.source}."),
        Text(f"Printed: {_printed(item.figures) or 'nothing, settings only'}\n"),
        *_settings(rows),
    )
    if defaults:
        common.show(Text(f"\nNot stated anywhere, so at segbench's defaults: {'; '.join(defaults)}."))
    uses = common.table("reading", "option", "confidence", "says", "source")
    for use in item.readings:
        says = use.reading.options[use.option].says
        certainty = f"{use.confidence}, a recollection" if use.is_recollected else use.confidence
        uses.add_row(use.name, use.option, certainty, Text(says), Text(use.reading.source))
    if item.readings:
        common.show(
            Text("\nReadings it rests on (another option: --reading NAME=OPTION, all of them: --readings)"), uses
        )
    waits = f"Waits for {', '.join(item.unsupported)}." if item.unsupported else "Runs with this version of segbench."
    if item.unsupported and all(lack.startswith("data set ") for lack in item.unsupported):
        waits += " On generated scenes it runs already: --budget smoke."
    common.show(Text(f"\n{waits}\nNext: segbench reproduce {item.name} --dataset {item.dataset} --dry-run"))


def _settings(rows: list[tuple[str, str, str, str]]) -> "list[RenderableType]":
    """Lay out path, value, origin and place of every setting: a table, or two lines each on a narrow terminal."""
    from rich.padding import Padding
    from rich.text import Text

    if common.is_narrow():
        lines: list[RenderableType] = []
        for path, value, origin, where in rows:
            lines.append(Text.assemble((f"{path}: ", "bold"), value))
            lines.append(Padding(Text(f"{origin} ({where})", style="dim"), (0, 0, 0, 4)))
        return lines
    view = common.table("setting", "value", "origin", "where")
    view.columns[0].no_wrap = view.columns[3].no_wrap = True
    for path, value, origin, where in rows:
        view.add_row(path, Text(value), Text(origin), where)
    return [view]


def _table(table: "Table", *, as_json: bool) -> None:
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
    view = common.table("row", "title", "data", "printed")
    for name, row in table.file.rows.items():
        for dataset in table.datasets(name):
            printed = _printed([figure for figure in table.figures(name) if figure.dataset == dataset])
            view.add_row(name, Text(row.title or ""), dataset, Text(printed or "-"))
    common.show(Text(f"{table.name}  {table.file.title}\n{table.file.source}."), view)
    for item in table.file.contradictions:
        common.show(Text(f"† {item.says}"))
    first = next(iter(table.file.rows))
    common.show(Text(f"\nOpen points: segbench show {table.name} --readings\nNext: segbench show {table.name}/{first}"))


def _printed(figures: "Sequence[Figure]") -> str:
    """Return ``miou 81.15, miou_gain -1.05 (val)``; values of single classes are only counted."""
    groups: dict[str, list[str]] = {}
    for figure in figures:
        if figure.headline:
            within = f" within {figure.tolerance:g} ({figure.tolerance_source})" if figure.tolerance else ""
            groups.setdefault(figure.split, []).append(f"{figure.metric} {figure.printed}{within}")
    for split in dict.fromkeys(figure.split for figure in figures):
        classes = sum(figure.split == split and not figure.headline for figure in figures)
        if classes:
            groups.setdefault(split, []).append(common.many(classes, "class value"))
    return "; ".join(f"{', '.join(printed)} ({split})" for split, printed in groups.items())


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
            says = f"{meaning.says} (a recollection)" if option in reading.recollected else meaning.says
            common.show(Text(f"    {option:16} {mark:8} {says}"))
        group = f"    chosen together with others by --reading {reading.group}=OPTION\n" if reading.group else ""
        common.show(Text(f"    source: {reading.source}\n{group}"))
    common.show(Text(f"Next: segbench reproduce {table.name} --reading NAME=OPTION --dry-run"))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else f"{value}"
