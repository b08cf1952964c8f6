"""What a table's parts say of one another and of other tables: each name must lead somewhere."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from segbench.core.errors import UsageFault
from segbench.core.registry import close_names
from segbench.core.strict_yaml import Document, Location

from . import layers
from .protocol import flatten
from .schema import Reading

if TYPE_CHECKING:
    from .catalog import Catalog, Paper, Table


def cross_check(catalog: "Catalog", table: "Table", *, whole: bool = True) -> list[str]:
    """Faults of a table's references, each ``file:line: location: sentence``.

    Args:
        catalog: holds the tables that this one may build on.
        table: what is checked.
        whole: whether every file could be read; if not, a table that is missing is no fault of this one.
    """
    found = [
        *_bases(catalog, table, whole=whole),
        *_gains(table),
        *_overlays(table),
        *_sources(catalog, table),
        *_contradictions(table),
        *_facts(table.file.readings, {"row": set(table.file.rows)}),
    ]
    return [_line(table.document, location, text) for location, text in found]


def cross_check_paper(catalog: "Catalog", paper: "Paper") -> list[str]:
    """Likewise of the readings that the tables of a paper share."""
    tables = [table for table in catalog.tables.values() if table.paper == paper.name]
    known = {"table": {table.name for table in tables}, "row": {row for table in tables for row in table.file.rows}}
    return [_line(paper.document, location, text) for location, text in _facts(paper.file.readings, known)]


def _line(document: Document, location: Location, text: str) -> str:
    return f"{document.where(location)}: {'.'.join(location)}: {text}"


def _bases(catalog: "Catalog", table: "Table", *, whole: bool) -> Iterator[tuple[Location, str]]:
    file = table.file
    used = {dataset for row in file.rows for dataset in table.datasets(row)}
    bases: list[tuple[Location, str]] = [(("base", dataset), base) for dataset, base in file.base.items()]
    for location, _ in bases:
        if location[1] not in used:
            yield location, f"no row has figures on {location[1]!r}{_close(location[1], used)}"
    for name, row in file.rows.items():
        if isinstance(row.base, dict):
            own, known = row.base, table.datasets(name)
            bases += [(("rows", name, "base", dataset), base) for dataset, base in own.items()]
            for dataset in own:
                if dataset not in known:
                    text = f"the row has no figures on {dataset!r}{_close(dataset, known)}"
                    yield ("rows", name, "base", dataset), text
        elif row.base:
            bases.append((("rows", name, "base"), row.base))
    for location, base in bases:
        other, _, name = base.partition("/")
        if other not in catalog.tables and not whole:
            continue
        rows = catalog.tables[other].file.rows if other in catalog.tables else {}
        if name not in rows:
            names = [f"{each.name}/{row}" for each in catalog.tables.values() for row in each.file.rows]
            yield location, f"no row {base!r}{_close(base, names)}"
        elif rows[name].base or catalog.tables[other].file.base:
            yield location, f"{base} builds on another row itself; only one step is followed"


def _gains(table: "Table") -> Iterator[tuple[Location, str]]:
    rows = table.file.rows
    for name, row in rows.items():
        if row.over is not None and (row.over not in rows or row.over == name):
            close = _close(row.over, rows)
            yield ("rows", name, "over"), f"over {row.over!r}, which is no other row of the table{close}"
        for key, group in row.figures.items():
            for metric, entry in group.metrics.items():
                location = ("rows", name, "figures", key, metric)
                if entry.over is None:
                    continue
                if entry.over not in rows or entry.over == name:
                    yield location, f"over {entry.over!r}, which is no other row of the table{_close(entry.over, rows)}"
                elif key.split(".")[0] not in table.datasets(entry.over):
                    yield location, f"over {entry.over!r}, which has no figures on {key.split('.')[0]}"


def _overlays(table: "Table") -> Iterator[tuple[Location, str]]:
    for name, row in table.file.rows.items():
        known = table.datasets(name)
        for dataset in row.datasets:
            if dataset not in known:
                text = f"the row has no figures on {dataset!r}{_close(dataset, known)}"
                yield ("rows", name, "datasets", dataset), text


def _sources(catalog: "Catalog", table: "Table") -> Iterator[tuple[Location, str]]:
    """A source is said of a value: of the table's or a row's own, or of one that the row inherits."""
    every = list(flatten(layers.of_table(table)))
    for name, row in table.file.rows.items():
        own = list(flatten(layers.of_row(table, name)))
        every += own
        parts: list[tuple[Location, Iterable[str], list[str], tuple[str, ...]]]
        parts = [(("rows", name), row.sources, own, table.datasets(name))]
        for dataset, overlay in row.datasets.items():
            values = list(flatten(layers.of_overlay(table, name, dataset)))
            every += values
            parts.append((("rows", name, "datasets", dataset), overlay.sources, values, (dataset,)))
        for place, sources, values, datasets in parts:
            for said in _idle(sources, values):
                inherited = [path for dataset in datasets for path in _inherited(catalog, table, name, dataset)]
                if inherited and _idle([said], inherited):
                    yield (*place, "sources", said), _no_value(said, inherited)
    for said in _idle(table.file.sources, every):
        yield ("sources", said), _no_value(said, every)


def _inherited(catalog: "Catalog", table: "Table", row: str, dataset: str) -> list[str]:
    """Paths of all values of a row, none if it builds on what is not there, which is a fault of its own."""
    try:
        return list(flatten(layers.layers(catalog, table, row, dataset)))
    except UsageFault:
        return []


def _idle(sources: Iterable[str], paths: list[str]) -> list[str]:
    """The sources that are said of none of these values."""
    return [said for said in sources if not any(layers.covers(said, path) for path in paths)]


def _no_value(said: str, paths: list[str]) -> str:
    return f"there is no value of that name{_close(said, paths)}"


def _contradictions(table: "Table") -> Iterator[tuple[Location, str]]:
    known = {*table.file.rows, *(name for figure in table.figures() for name in figure.names)}
    for index, contradiction in enumerate(table.file.contradictions):
        for place, name in enumerate(contradiction.figures):
            if name not in known:
                location = ("contradictions", str(index), "figures", str(place))
                yield location, f"no figure or row {name!r}{_close(name, known)}"


def _facts(readings: dict[str, Reading], known: dict[str, set[str]]) -> Iterator[tuple[Location, str]]:
    for name, reading in readings.items():
        for fact, wanted in reading.when.items():
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if fact in known and value not in known[fact]:
                    yield ("readings", name, "when", fact), f"no {fact} {value!r}{_close(str(value), known[fact])}"


def _close(name: str, known: Iterable[str]) -> str:
    close = close_names(name, sorted(known), limit=1)
    return f". Close: {close[0]}" if close else ""
