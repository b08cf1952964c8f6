"""References within a table and between tables: each name must exist."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from segbench.core.errors import SegbenchError
from segbench.core.registry import choices, close_names
from segbench.core.strict_yaml import Document, Location

from . import layers
from .schema import Network, Reading, Sections
from .tables import Catalog, Paper, Table
from .tree import flatten

Found = Iterator[tuple[Location, str]]


def cross_check(catalog: Catalog, table: Table, *, complete: bool = True) -> list[str]:
    """Return the faults of a table's references, each ``file:line: location: sentence``.

    Args:
        catalog: the catalog with the tables that this one may build on.
        table: the table to check.
        complete: True if every file could be read; otherwise a missing table or network is not a fault of this one.
    """
    unknown = list(_networks(catalog, table))
    found = [
        *_bases(catalog, table, complete=complete),
        *(unknown if complete else ()),
        *_gains(table),
        *_overlays(table),
        *(() if unknown else _sources(catalog, table)),  # an unknown network has no values to state a source for
        *_contradictions(table),
        *_facts(table.file.readings, {"row": set(table.file.rows)}),
    ]
    return [_line(table.document, location, text) for location, text in found]


def cross_check_paper(catalog: Catalog, paper: Paper) -> list[str]:
    """Return the faults of the readings that the tables of a paper share, likewise."""
    tables = [table for table in catalog.tables.values() if table.paper == paper.name]
    known = {"table": {table.name for table in tables}, "row": {row for table in tables for row in table.file.rows}}
    found = [*_facts(paper.file.readings, known), *_networks_of_readings(paper.file.readings, paper.file.networks)]
    found += _network_sources(paper.file.networks)
    return [_line(paper.document, location, text) for location, text in found]


def cross_check_claims(catalog: Catalog, paper: str) -> list[str]:
    """Return the faults of the claims of a paper: tables and rows that do not exist, and unknown calculations."""
    found: list[tuple[Location, str]] = []
    for number, claim in enumerate(catalog.claims[paper].file.claims):
        place = ("claims", str(number))
        if claim.table is None:
            continue
        unknown = [name for name in dict.fromkeys((claim.table, *claim.tables)) if name not in catalog.tables]
        found += [((*place, "table"), f"no table {name!r}{_close(name, catalog.tables)}") for name in unknown]
        for full in dict.fromkeys(claim.full(name) for pair in claim.all_pairs for name in pair):
            table, row = catalog.tables.get(full.rpartition("/")[0]), full.rpartition("/")[2]
            if table is None:
                continue
            if row not in table.file.rows:
                found.append((place, f"no row {row!r} in {table.name}{_close(row, table.file.rows)}"))
                continue
            missing = {where.split(".")[0] for where in claim.at} - set(table.datasets(row))
            found += [(place, f"row {row!r} has no figures on {dataset!r}") for dataset in sorted(missing)]
    return [_line(catalog.claims[paper].document, *each) for each in found]


def cross_check_released(catalog: Catalog, paper: str) -> list[str]:
    """Return the faults of the released weights of a paper: rows that do not exist, or not on that data set."""
    found: list[tuple[Location, str]] = []
    for number, weights in enumerate(catalog.released[paper].file.weights):
        place, table = ("weights", str(number)), catalog.tables.get(weights.table)
        if table is None:
            found.append(((*place, "row"), f"no table {weights.table!r}{_close(weights.table, catalog.tables)}"))
        elif weights.name not in table.file.rows:
            close = _close(weights.name, table.file.rows)
            found.append(((*place, "row"), f"no row {weights.name!r} in {table.name}{close}"))
        elif weights.dataset not in table.datasets(weights.name):
            text = f"row {weights.name!r} has no figures on {weights.dataset!r}"
            found.append(((*place, "dataset"), text))
    return [_line(catalog.released[paper].document, *each) for each in found]


def _line(document: Document, location: Location, text: str) -> str:
    return f"{document.where(location)}: {'.'.join(location)}: {text}"


def _bases(catalog: Catalog, table: Table, *, complete: bool) -> Found:
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
        if other not in catalog.tables and not complete:
            continue
        rows = catalog.tables[other].file.rows if other in catalog.tables else {}
        broken = catalog.broken_table(other)
        if broken is not None and other not in catalog.tables:
            yield location, f"{base} is in {broken.path}, which has faults"
        elif name not in rows:
            names = [f"{each.name}/{row}" for each in catalog.tables.values() for row in each.file.rows]
            hint = f"; a base is written TABLE/ROW: {table.name}/{base}" if base in file.rows else _close(base, names)
            yield location, f"no row {base!r}{hint}"
        elif rows[name].base or catalog.tables[other].file.base:
            yield location, f"{base} builds on another row itself; only one step is followed"


def _networks(catalog: Catalog, table: Table) -> Found:
    """Faults of the names of networks in the table, its rows, their stages and data sets, and its readings."""
    known = {name: network for name, (network, _) in catalog.networks_of(table).items()}
    places: list[tuple[Location, Sections]] = [((), table.file)]
    for name, row in table.file.rows.items():
        places.append((("rows", name), row))
        places += [(("rows", name, "datasets", dataset), overlay) for dataset, overlay in row.datasets.items()]
    for place, sections in places:
        models: list[tuple[Location, Mapping[Any, Any]]] = [((*place, "model"), sections.model)]
        models += [((*place, "stages", str(i), "model"), stage.model) for i, stage in enumerate(sections.stages)]
        for location, model in models:
            if "network" in model and not _is_known(model["network"], known):
                yield (*location, "network"), no_network(model["network"], known)
    yield from _networks_of_readings(table.file.readings, known)
    yield from _network_sources(table.file.networks)


def _networks_of_readings(readings: Mapping[str, Reading], known: Mapping[str, Network]) -> Found:
    for name, reading in readings.items():
        for option, meaning in reading.options.items():
            for path, value in meaning.set.items():
                if path.endswith("model.network") and not _is_known(value, known):
                    yield ("readings", name, "options", option, "set", path), no_network(value, known)


def _network_sources(networks: Mapping[str, Network]) -> Found:
    for name, network in networks.items():
        values = list(flatten(network.tree()))
        for said in _idle(network.sources, values):
            yield ("networks", name, "sources", said), _no_value(said, values)


def _is_known(name: object, known: Mapping[str, Network]) -> bool:
    return isinstance(name, str) and name in known


def no_network(name: object, known: Iterable[str]) -> str:
    """Return the fault of a name that is not among the known networks."""
    return f"no network {name!r}. {choices(str(name), sorted(known))}"


def _gains(table: Table) -> Found:
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


def _overlays(table: Table) -> Found:
    for name, row in table.file.rows.items():
        known = table.datasets(name)
        for dataset in row.datasets:
            if dataset not in known:
                text = f"the row has no figures on {dataset!r}{_close(dataset, known)}"
                yield ("rows", name, "datasets", dataset), text


def _sources(catalog: Catalog, table: Table) -> Found:
    """Faults of sources that cover no value: of the table's or a row's own, or of one that the row inherits."""
    every = list(flatten(layers.of_table(catalog, table)))
    for name, row in table.file.rows.items():
        own = list(flatten(layers.of_row(catalog, table, name)))
        every += own
        places: list[tuple[Location, Iterable[str], list[str], tuple[str, ...]]]
        places = [(("rows", name), row.sources, own, table.datasets(name))]
        for dataset, overlay in row.datasets.items():
            values = list(flatten(layers.of_overlay(catalog, table, name, dataset)))
            every += values
            places.append((("rows", name, "datasets", dataset), overlay.sources, values, (dataset,)))
        for place, sources, values, datasets in places:
            for said in _idle(sources, values):
                inherited = [path for dataset in datasets for path in _inherited(catalog, table, name, dataset)]
                if inherited and _idle([said], inherited):
                    yield (*place, "sources", said), _no_value(said, inherited)
    for said in _idle(table.file.sources, every):
        yield ("sources", said), _no_value(said, every)


def _inherited(catalog: Catalog, table: Table, row: str, dataset: str) -> list[str]:
    """Return the paths of all values of a row; empty if its base does not exist, which is a fault of its own."""
    try:
        return list(flatten(layers.layers(catalog, table, row, dataset)))
    except SegbenchError:
        return []


def _idle(sources: Iterable[str], paths: list[str]) -> list[str]:
    """Return the sources that cover none of these values."""
    return [said for said in sources if not any(layers.covers(said, path) for path in paths)]


def _no_value(said: str, paths: list[str]) -> str:
    return f"there is no value of that name{_close(said, paths)}"


def _contradictions(table: Table) -> Found:
    known = {*table.file.rows, *(name for figure in table.figures() for name in figure.names)}
    for index, contradiction in enumerate(table.file.contradictions):
        for place, name in enumerate(contradiction.figures):
            if name not in known:
                location = ("contradictions", str(index), "figures", str(place))
                yield location, f"no figure or row {name!r}{_close(name, known)}"


def _facts(readings: Mapping[str, Reading], known: Mapping[str, set[str]]) -> Found:
    for name, reading in readings.items():
        for fact, wanted in reading.when.items():
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if fact in known and value not in known[fact]:
                    yield ("readings", name, "when", fact), f"no {fact} {value!r}{_close(str(value), known[fact])}"


def _close(name: str, known: Iterable[str]) -> str:
    close = close_names(name, sorted(known), limit=1)
    return f". Close: {close[0]}" if close else ""
