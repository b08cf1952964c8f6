"""The layers that a row is written in, one over the other: base, table, row, data set; every value with its origin."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segbench.core import strict_yaml

from .protocol import Origin, Traced, deep_merge, flatten, is_section, pick, put
from .schema import Sections, SourceEntry

if TYPE_CHECKING:
    from .catalog import Catalog, Table


def layers(catalog: "Catalog", table: "Table", row: str, dataset: str) -> dict[str, Any]:
    """The traced tree of a row on one data set, before any reading.

    Raises:
        UsageFault: the row builds on one that is not there.
    """
    entry = table.row(row)
    tree: dict[str, Any] = {}
    own = entry.base.get(dataset) if isinstance(entry.base, dict) else entry.base
    base = own or table.file.base.get(dataset)
    other, _, base_row = (base or "").partition("/")
    if base:
        tree = of_table(catalog.table(other), f"base {base}")
        tree = _with_row(tree, catalog.table(other), base_row, dataset, f"base {base}")
    if other != table.name:  # a row of the same table has the table's own values below it already
        tree = deep_merge(tree, of_table(table, "table"))
    tree = _with_row(tree, table, row, dataset, f"row {row}")
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


def of_table(table: "Table", layer: str = "table") -> dict[str, Any]:
    """The traced values that stand in the table itself."""
    return _traced(table.file, (), layer, table.document, (table.file.sources,), table.file.source)


def of_row(table: "Table", row: str, layer: str = "row") -> dict[str, Any]:
    """The traced values that stand in the row itself, without those for one data set alone."""
    return _traced(table.row(row), ("rows", row), layer, table.document, _sources(table, row), table.file.source)


def of_overlay(table: "Table", row: str, dataset: str, layer: str = "row") -> dict[str, Any]:
    """The traced values that stand in the row for one data set alone; none where it has no such part."""
    part = table.row(row).datasets.get(dataset, Sections())
    sources = (part.sources, *_sources(table, row))
    place = ("rows", row, "datasets", dataset)
    return _traced(part, place, layer, table.document, sources, table.file.source)


def covers(source: str, path: str) -> bool:
    """Whether a source said of one dotted path is said of another: of that value, or of a section that it is in."""
    return path == source or path.startswith(f"{source}.")


def _with_row(tree: dict[str, Any], table: "Table", row: str, dataset: str, layer: str) -> dict[str, Any]:
    """A row over what lies below it."""
    entry = table.row(row)
    tree = _over(tree, of_row(table, row, layer), entry.sources)
    overlay = entry.datasets.get(dataset)
    return _over(tree, of_overlay(table, row, dataset, layer), overlay.sources if overlay else {})


def _over(lower: dict[str, Any], upper: dict[str, Any], sources: Mapping[str, SourceEntry]) -> dict[str, Any]:
    """``upper`` over ``lower``. A source that says nothing of what stands in ``upper`` is said of what it inherits."""
    own = flatten(upper)
    below = {said: entry for said, entry in sources.items() if not any(covers(said, path) for path in own)}
    merged = deep_merge(lower, upper)
    for path, leaf in flatten(merged).items():
        said = max((said for said in below if covers(said, path)), key=len, default=None)
        if said is not None and isinstance(leaf, Traced):
            origin = replace(leaf.origin, source=below[said].source, confidence=below[said].confidence)
            put(merged, path, Traced(leaf.value, origin))
    return merged


def _sources(table: "Table", row: str) -> tuple[Mapping[str, SourceEntry], ...]:
    return (table.row(row).sources, table.file.sources)


def _traced(
    part: Sections,
    place: tuple[str, ...],
    layer: str,
    document: strict_yaml.Document,
    sources: tuple[Mapping[str, SourceEntry], ...],
    otherwise: str,
) -> dict[str, Any]:
    """A part's sections with an origin at every leaf; any of the first ``sources`` wins over the next ones."""
    stages = {stage.name: str(index) for index, stage in enumerate(part.stages)}

    def walk(value: Any, path: tuple[str, ...]) -> Any:
        if is_section(value):
            return {key: walk(inner, (*path, str(key))) for key, inner in value.items()}
        if path[-2:] in (("model", "backbone"), ("model", "decoder")) and isinstance(value, str):
            return {"name": walk(value, (*path, "name"))}  # readings and budgets ask for the name
        dotted = ".".join(path)
        parents = [dotted.rsplit(".", cut)[0] for cut in range(dotted.count(".") + 1)]
        every = (said.get(parent) for said in sources for parent in parents)
        source = next((entry for entry in every if entry), None)
        written = ("stages", stages[path[1]], *path[2:]) if path[0] == "stages" else path
        origin = Origin(
            layer,
            document.where((*place, *written)),
            source.source if source else otherwise,
            source.confidence if source else None,
        )
        return Traced(value, origin)

    return {key: walk(value, (key,)) for key, value in part.tree().items()}
