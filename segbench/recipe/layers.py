"""The layers in which a row is written, merged: base, table, row, data set; every value with its origin."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .schema import Sections, SourceEntry
from .tables import Catalog, Table
from .tree import Origin, Traced, deep_merge, flatten, is_section, pick, put

Sources = Mapping[str, SourceEntry]


def layers(catalog: Catalog, table: Table, row: str, dataset: str) -> dict[str, Any]:
    """Return the traced tree of a row on one data set, before any reading.

    Raises:
        UsageFault: the row builds on one that does not exist.
        InvalidFault: it builds on a personal recipe with faults.
    """
    entry = table.row(row)
    tree: dict[str, Any] = {}
    own = entry.base.get(dataset) if isinstance(entry.base, dict) else entry.base
    base = own or table.file.base.get(dataset)
    other, _, base_row = (base or "").partition("/")
    if base:
        lower = catalog.table(other)
        tree = of_table(catalog, lower, f"base {base}")
        tree = _with_row(tree, catalog, lower, base_row, dataset, f"base {base}")
    if other != table.name:  # a row of the same table includes the table's own values already
        tree = deep_merge(tree, of_table(catalog, table, "table"))
    tree = _with_row(tree, catalog, table, row, dataset, f"row {row}")
    printed = [key.split(".")[1] for key in entry.figures if key.split(".")[0] == dataset]
    scored = [split for split in printed if split not in ("train", "unstated")]
    if scored and "schedule" in tree and not pick(tree, "evaluation.split"):
        where = table.document.where(("rows", row, "figures", f"{dataset}.{scored[0]}"))
        put(tree, "evaluation.split", Traced(scored[0], Origin("figures", where, "the split that is printed")))
    measured = [figure for figure in table.figures(row) if (figure.dataset, figure.kind) == (dataset, "feature")]
    if measured and "schedule" in tree and not pick(tree, "evaluation.features"):
        where = table.document.where(("rows", row, "figures", f"{dataset}.{measured[0].split}"))
        origin = Origin("figures", where, "metrics of features are printed")
        put(tree, "evaluation.features.length", Traced("raw", origin))
    return tree


def of_table(catalog: Catalog, table: Table, layer: str = "table") -> dict[str, Any]:
    """Return the traced values of the table itself."""
    return _traced(catalog, table, table.file, (), layer, (table.file.sources,))


def of_row(catalog: Catalog, table: Table, row: str, layer: str = "row") -> dict[str, Any]:
    """Return the traced values of the row itself, without those of single data sets."""
    entry = table.row(row)
    return _traced(catalog, table, entry, ("rows", row), layer, (entry.sources,))


def of_overlay(catalog: Catalog, table: Table, row: str, dataset: str, layer: str = "row") -> dict[str, Any]:
    """Return the traced values of the row for one data set alone; empty if it has none."""
    entry = table.row(row)
    overlay = entry.datasets.get(dataset, Sections())
    place = ("rows", row, "datasets", dataset)
    return _traced(catalog, table, overlay, place, layer, (overlay.sources, entry.sources))


def covers(source: str, path: str) -> bool:
    """Return True if a source stated for one dotted path applies to another: the same value, or one inside of it."""
    return path == source or path.startswith(f"{source}.")


def _with_row(
    tree: dict[str, Any], catalog: Catalog, table: Table, row: str, dataset: str, layer: str
) -> dict[str, Any]:
    """Merge a row over the layers below it."""
    entry = table.row(row)
    tree = _over(tree, of_row(catalog, table, row, layer), entry.sources)
    overlay = entry.datasets.get(dataset)
    return _over(tree, of_overlay(catalog, table, row, dataset, layer), overlay.sources if overlay else {})


def _over(lower: dict[str, Any], upper: dict[str, Any], sources: Sources) -> dict[str, Any]:
    """Merge ``upper`` over ``lower``. A source that covers nothing in ``upper`` applies to the inherited values."""
    own = flatten(upper)
    below = {said: entry for said, entry in sources.items() if not any(covers(said, path) for path in own)}
    merged = deep_merge(lower, upper)
    for path, leaf in flatten(merged).items() if below else ():
        said = max((said for said in below if covers(said, path)), key=len, default=None)
        if said is not None and isinstance(leaf, Traced):
            origin = replace(leaf.origin, source=below[said].source, confidence=below[said].confidence)
            put(merged, path, Traced(leaf.value, origin))
    return merged


def _traced(
    catalog: Catalog, table: Table, sections: Sections, place: tuple[str, ...], layer: str, own: tuple[Sources, ...]
) -> dict[str, Any]:
    """Return the sections with an origin at every leaf.

    The first source that covers a value counts: the sections' ``own``, then a network's, then the table's.
    """
    networks = catalog.networks_of(table)
    stages = {stage.name: str(index) for index, stage in enumerate(sections.stages)}

    def source_of(path: tuple[str, ...], network: Sources) -> SourceEntry:
        for sources in (*own, network, table.file.sources):
            for cut in range(len(path), 0, -1):
                entry = sources.get(".".join(path[:cut]))
                if entry is not None:
                    return entry
        return SourceEntry(source=table.file.source)

    def walk(value: Any, path: tuple[str, ...]) -> Any:
        if path[-1] == "model" and is_section(value) and str(value.get("network")) in networks:
            changes = {key: walk(inner, (*path, str(key))) for key, inner in value.items()}
            name = {"network": changes.pop("network")}
            return deep_merge(named(str(value["network"]), path), changes) | name
        if is_section(value):
            return {key: walk(inner, (*path, str(key))) for key, inner in value.items()}
        if path[-2:] in (("model", "backbone"), ("model", "decoder")) and isinstance(value, str):
            return {"name": walk(value, (*path, "name"))}  # readings and budgets ask for the name
        written = ("stages", stages[path[1]], *path[2:]) if path[0] == "stages" else path
        source = source_of(path, {})
        origin = Origin(layer, table.document.where((*place, *written)), source.source, source.confidence)
        return Traced(value, origin)

    def named(name: str, model: tuple[str, ...]) -> dict[str, Any]:
        network, document = networks[name]
        place = ".".join(model)
        said = {f"{place}.{path}": entry for path, entry in network.sources.items()}
        if network.source:
            said[place] = SourceEntry(source=network.source, confidence=network.confidence)

        def trace(value: Any, path: tuple[str, ...]) -> Any:
            if is_section(value):
                return {key: trace(inner, (*path, str(key))) for key, inner in value.items()}
            source = source_of((*model, *path), said)
            where = document.where(("networks", name, *path))
            return Traced(value, Origin(f"network {name}", where, source.source, source.confidence))

        return {key: trace(value, (key,)) for key, value in network.tree().items()}

    return {key: walk(value, (key,)) for key, value in sections.tree().items()}
