"""From a row to a protocol: base, table, row, readings, budget and command line, every value with its origin."""

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import close_names, has_part, is_registered, options_of

from . import budgets, strict_yaml
from .catalog import Catalog, Table
from .figures import METRICS, Figure
from .protocol import Origin, Protocol, Traced, build, deep_merge, flatten, is_section, pick, plain, put
from .schema import Confidence, Reading, RowEntry, TableFile

RANK: dict[str, int] = {"low": 0, "medium": 1, "high": 2}


@dataclass(frozen=True)
class ReadingUse:
    """A reading that a row rests on, and the option taken."""

    name: str
    option: str
    reading: Reading

    @property
    def is_default(self) -> bool:
        return self.option == self.reading.default

    @property
    def confidence(self) -> Confidence:
        return self.reading.confidence


@dataclass(frozen=True)
class Request:
    """What the user asks of a row: everything beyond the recipe that changes the protocol."""

    budget: str = "full"
    seed: int = 0
    readings: tuple[tuple[str, str], ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def is_plain(self) -> bool:
        return not self.readings and not self.settings


@dataclass
class Resolved:
    """A row on one data set, ready to be planned, shown or compared.

    Attributes:
        published: the protocol under the readings taken, before budget and command line.
        ran: the protocol that runs.
        tree: the traced tree behind ``ran``.
    """

    table: Table
    row: str
    dataset: str
    request: Request
    published: Protocol
    ran: Protocol
    tree: dict[str, Any]
    readings: list[ReadingUse] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.table.name}/{self.row}"

    @cached_property
    def figures(self) -> list[Figure]:
        return [figure for figure in self.table.figures(self.row) if figure.dataset == self.dataset]

    @property
    def waits(self) -> list[str]:
        """What this version of segbench lacks to run the row; empty if it runs."""
        waits = list(self.ran.waits)
        needs_data = self.ran.evaluation is not None and any(f.kind in ("trained", "feature") for f in self.figures)
        if needs_data or not self.figures:
            data = self.ran.evaluation.data if self.ran.evaluation else None
            if data is not None and data.source == "folder" and not has_part("dataset", data.name, "reader"):
                waits.append(f"data set {data.name}")
        measured = [figure for figure in self.figures if METRICS[figure.base_metric].measured]
        if self.figures and not measured:
            waits += [f"metric {name}" for name in dict.fromkeys(f.base_metric for f in self.figures)]
        return list(dict.fromkeys(waits))

    @property
    def weakest_confidence(self) -> str | None:
        return min((use.confidence for use in self.readings), key=RANK.__getitem__, default=None)


def resolve(catalog: Catalog, table: str, row: str, dataset: str, request: Request | None = None) -> Resolved:
    """Resolve one row on one data set.

    Raises:
        UsageFault: unknown table, row, data set, budget, reading or option.
        InvalidFault: the resolved protocol has faults; all of them, each with file and line.
    """
    request = request or Request()
    found = catalog.table(table)
    entry = found.row(row)
    known = found.datasets(row)
    if dataset not in known:
        raise UsageFault(
            f"{table}/{row} has no figures on {dataset!r}; it has {', '.join(known)}.",
            next=f"segbench show {table}",
        )
    tree = _layers(catalog, found, row, entry, dataset)
    uses = _apply_readings(catalog, found, row, dataset, tree, request)
    published = _checked(tree, found, row, request.seed)
    budget = catalog.budget(request.budget)
    if budget is not None:
        budgets.apply(tree, request.budget, budget)
    for path, value in request.settings:
        put(tree, path, Traced(value, Origin("command line", f"--set {path}")))
    ran = _checked(tree, found, row, request.seed) if budget is not None or request.settings else published
    return Resolved(found, row, dataset, request, published, ran, tree, uses)


def resolve_all(catalog: Catalog, table: str, request: Request | None = None) -> list[Resolved]:
    """Every row of a table on every one of its data sets, in the order printed."""
    found = catalog.table(table)
    return [
        resolve(catalog, table, row, dataset, request) for row in found.file.rows for dataset in found.datasets(row)
    ]


def _layers(catalog: Catalog, table: Table, row: str, entry: RowEntry, dataset: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    base = entry.base or table.file.base.get(dataset)
    if base:
        other, _, base_row = base.partition("/")
        below = catalog.table(other)
        tree = _file_layers(below, base_row, below.row(base_row), dataset, f"base {base}")
    tree = deep_merge(tree, _file_layers(table, row, entry, dataset, ""))
    printed = [key.split(".")[1] for key in entry.figures if key.split(".")[0] == dataset]
    scored = [split for split in printed if split not in ("train", "unstated")]
    if scored and "schedule" in tree and not pick(tree, "evaluation.split"):
        where = table.document.where(("rows", row, "figures", f"{dataset}.{scored[0]}"))
        put(tree, "evaluation.split", Traced(scored[0], Origin("figures", where, "the split that is printed")))
    return tree


def _file_layers(table: Table, row: str, entry: RowEntry, dataset: str, base: str) -> dict[str, Any]:
    file, document = table.file, table.document
    tree = _traced(file, (), base or "table", document, file)
    tree = deep_merge(tree, _traced(entry, ("rows", row), base or f"row {row}", document, file))
    if dataset in entry.datasets:
        place = ("rows", row, "datasets", dataset)
        tree = deep_merge(tree, _traced(entry.datasets[dataset], place, base or f"row {row}", document, file))
    return tree


def _traced(part: Any, place: tuple[str, ...], layer: str, document: strict_yaml.Document, file: TableFile) -> Any:
    """A part's sections with an origin at every leaf; sources of the part win over the file's."""
    sources = {**file.sources, **part.sources}

    def walk(value: Any, path: tuple[str, ...]) -> Any:
        if is_section(value):
            return {key: walk(inner, (*path, str(key))) for key, inner in value.items()}
        dotted = ".".join(path)
        parents = [dotted.rsplit(".", cut)[0] for cut in range(dotted.count(".") + 1)]
        source = next((sources[parent] for parent in parents if parent in sources), None)
        origin = Origin(
            layer,
            document.where((*place, *path)),
            source.source if source else file.source,
            source.confidence if source else None,
        )
        return Traced(value, origin)

    tree = part.tree()
    if "stages" in tree:
        tree["stages"] = {
            str(stage.get("name", index)): {key: value for key, value in stage.items() if key != "name"}
            for index, stage in enumerate(tree["stages"])
        }
    return {key: walk(value, (key,)) for key, value in tree.items()}


def _apply_readings(
    catalog: Catalog, table: Table, row: str, dataset: str, tree: dict[str, Any], request: Request
) -> list[ReadingUse]:
    wanted = dict(request.readings)
    available = catalog.readings_of(table)
    uses = []
    for name, (reading, document) in available.items():
        if not _applies(reading, tree, table.name, row, dataset):
            continue
        option = wanted.pop(name, reading.default)
        if option not in reading.options:
            raise UsageFault(
                f"Reading {name!r} has no option {option!r}; it has {', '.join(reading.options)}.",
                next=f"segbench show {table.name} --readings",
            )
        use = ReadingUse(name, option, reading)
        origin = Origin(f"reading {name}={option}", document.path.name, reading.source, reading.confidence)
        for path, value in reading.options[option].set.items():
            if isinstance(value, str) and value.startswith("$"):
                value = plain(pick(tree, value[1:]))
            put(tree, path, _leaves(copy.deepcopy(value), origin))
        uses.append(use)
    unknown = [name for name in wanted if name not in available]
    if unknown:
        close = close_names(unknown[0], list(available)) or list(available)
        raise UsageFault(
            f"No reading {unknown[0]!r} for {table.name}. Known: {', '.join(close) or 'none'}.",
            next=f"segbench show {table.name} --readings",
        )
    return uses


def _applies(reading: Reading, tree: dict[str, Any], table: str, row: str, dataset: str) -> bool:
    facts = {"table": table, "row": row, "dataset": dataset}
    for path, wanted in reading.when.items():
        value = facts[path] if path in facts else plain(pick(tree, path))
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if value not in allowed:
            return False
    return True


def _leaves(value: Any, origin: Origin) -> Any:
    if is_section(value):
        return {key: _leaves(inner, origin) for key, inner in value.items()}
    return Traced(value, origin)


def _checked(tree: dict[str, Any], table: Table, row: str, seed: int) -> Protocol:
    protocol = build(plain(tree), seed=seed)
    if protocol.faults:
        leaves = flatten(tree)
        lines = []
        for location, text in protocol.faults:
            origin = _nearest(leaves, location)
            where = origin.where if origin else table.document.where(("rows", row))
            lines.append(f"{where}: {table.name}/{row}: {location}: {text}")
        raise InvalidFault(*lines, next=f"segbench show {table.name}/{row}")
    return protocol


def _nearest(leaves: dict[str, Any], location: str) -> Origin | None:
    for cut in range(location.count(".") + 1):
        prefix = location.rsplit(".", cut)[0]
        for path, leaf in leaves.items():
            if (path == prefix or path.startswith(prefix + ".")) and isinstance(leaf, Traced):
                return leaf.origin
    return None


def typed_values(protocol: Protocol) -> dict[str, Any]:
    """Every value of a typed single-stage protocol by the dotted path it has in a recipe, defaults included."""
    found: dict[str, Any] = {}
    if protocol.training is not None and len(protocol.training.stages) == 1:
        stage = protocol.training.stages[0]
        for stream in stage.streams.values():
            found |= flatten({"data": stream.data.model_dump(), "augmentation": stream.augmentation.model_dump()})
        found |= flatten({"schedule": stage.schedule.model_dump(), "weights": stage.weights.model_dump()})
        model = stage.model
        found |= flatten({"model": {"align_corners": model.align_corners, "input": model.input.model_dump()}})
        for path, kind, choice in (
            ("model.backbone", "backbone", model.backbone),
            ("model.decoder", "decoder", model.decoder),
            ("method", "method", stage.method),
        ):
            if is_registered(kind, choice.name):
                options = options_of(kind, choice.name).model_validate(choice.options)
                found |= {f"{path}.{key}": value for key, value in flatten(options.model_dump()).items()}
    if protocol.evaluation is not None:
        own = protocol.evaluation.model_dump(exclude={"data"})
        found |= flatten({"evaluation": own})
    return found
