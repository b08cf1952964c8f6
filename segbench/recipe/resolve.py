"""Resolving: from a row to its protocol, through base, table, row, readings, budget and command line.

Every value keeps its origin.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from segbench.core import registry, support
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.spec import DataSpec, EvaluationSpec

from . import budgets, deviations, readings
from .deviations import Deviation
from .figures import Figure
from .layers import layers
from .protocol import Protocol, build
from .readings import ReadingUse
from .retarget import retarget
from .tables import Catalog, Table
from .tree import Origin, Traced, flatten, frozen, plain, thawed

RANK: dict[str, int] = {"low": 0, "medium": 1, "high": 2}
STAND_IN = "val"  # the split that is scored here if only a server has the labels


@dataclass(frozen=True)
class Request:
    """A user's request for a row: everything beyond the recipe that changes the protocol.

    Attributes:
        on: name of another data set to run the row on, see ``retarget``.
    """

    budget: str = "full"
    seed: int = 0
    readings: tuple[tuple[str, str], ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    on: str | None = None

    @property
    def is_plain(self) -> bool:
        return not self.readings and not self.settings and self.on is None


@dataclass(frozen=True)
class Resolved:
    """A row on one data set, ready to be planned, shown or compared. Shared by everybody who asks for it: read-only.

    Attributes:
        published: the protocol under the chosen readings, before budget and command line.
        ran: the protocol that runs.
        tree: the traced tree behind ``ran``.
    """

    table: Table
    row: str
    dataset: str
    request: Request
    published: Protocol
    ran: Protocol
    tree: Mapping[str, Any]
    readings: tuple[ReadingUse, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.table.name}/{self.row}"

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(figure for figure in self.table.figures(self.row) if figure.dataset == self.dataset)

    @cached_property
    def deviations(self) -> tuple[Deviation, ...]:
        """All differences between what runs and the published protocol."""
        return tuple(deviations.between(self.published, self.ran))

    @property
    def unsupported(self) -> list[str]:
        """Needs of the row that this version of segbench does not support; empty if it runs."""
        found = list(self.ran.unsupported)
        if not self.figures or any(figure.kind in ("trained", "feature") for figure in self.figures):
            found += [
                f"data set {data.name}"
                for data in _data(self.ran)
                if data.source == "folder" and not registry.has_module("dataset", data.name, "reader")
            ]
        if self.ran.training is not None and self.ran.cost is None:
            found += [lack.wait for lack in support.of_training(self.ran.training)]
        measured = [figure for figure in self.figures if figure.measured]
        if self.figures and not measured:
            found += [f"metric {name}" for name in dict.fromkeys(f.base_metric for f in self.figures)]
        return list(dict.fromkeys(found))

    @property
    def is_counted(self) -> bool:
        """True if counting parameters and multiply-adds answers the row, with nothing to train."""
        return self.ran.cost is not None and any(figure.kind == "exact" for figure in self.figures)

    @property
    def runs_on(self) -> str:
        """Name of the data set for training and evaluation: that of its figures, or another."""
        return self.request.on or self.dataset

    @property
    def server(self) -> str | None:
        """Test server that alone can score the row's figures, because the labels are not public."""
        return None if self.request.on else self.table.row(self.row).server

    @property
    def scored(self) -> EvaluationSpec | None:
        """Evaluation that is possible here: the protocol's, or on val if only a server has the labels."""
        evaluation = self.ran.evaluation
        if evaluation is None or self.server is None or evaluation.data.source == "generated":
            return evaluation
        data = evaluation.data.model_copy(update={"splits": (STAND_IN,)})
        return evaluation.model_copy(update={"data": data})

    @property
    def weakest_confidence(self) -> str | None:
        return min((use.confidence for use in self.readings), key=RANK.__getitem__, default=None)


@dataclass(frozen=True)
class _Published:
    """A row under its readings, before anything that only the command line asks for."""

    protocol: Protocol
    tree: Mapping[str, Any]
    readings: tuple[ReadingUse, ...]


def resolve(catalog: Catalog, table: str, row: str, dataset: str, request: Request | None = None) -> Resolved:
    """Resolve one row on one data set. Equal requests get the same object, until the catalog's tables change.

    Raises:
        UsageFault: unknown table, row, data set, budget, reading or option; a setting of something that does not exist;
            a row that is to be moved to data that it has figures on.
        InvalidFault: the resolved protocol has faults; all of them, each with file and line.
    """
    request = request or Request()
    key = ("resolved", table, row, dataset, repr(request), _added_entries())
    if key not in catalog.resolved:
        catalog.resolved[key] = _resolve(catalog, table, row, dataset, request)
    found: Resolved = catalog.resolved[key]
    return found


def resolve_all(catalog: Catalog, table: str, request: Request | None = None) -> list[Resolved]:
    """Resolve every row of a table on every one of its data sets, in printed order."""
    found = catalog.table(table)
    return [
        resolve(catalog, table, row, dataset, request) for row in found.file.rows for dataset in found.datasets(row)
    ]


def _added_entries() -> Hashable:
    """Return what the user has registered, such as data sets of their own: a protocol is checked against it.

    Modules and not their options, as those of a faulty description raise, also for rows that do not use it.
    """
    added = ((kind, name) for kind in registry.KINDS for name in registry.added(kind))
    return tuple((kind, name, registry.implementation(kind, name, "options")) for kind, name in added)


def _resolve(catalog: Catalog, table: str, row: str, dataset: str, request: Request) -> Resolved:
    found = catalog.table(table)
    known = found.datasets(row)
    if dataset not in known:
        raise UsageFault(
            f"{table}/{row} has no figures on {dataset!r}; it has {', '.join(known)}.",
            next=f"segbench show {table}",
        )
    published = _published(catalog, found, row, dataset, request)
    if request.on is not None:
        _check_move(found, row, request.on, published.protocol)
    budget = catalog.budget(request.budget)
    if budget is None and not request.settings and request.on is None:
        return Resolved(
            found, row, dataset, request, published.protocol, published.protocol, published.tree, published.readings
        )
    tree = thawed(published.tree)
    if request.on is not None:
        retarget(tree, request.on)
    if budget is not None:
        document = catalog.budget_document
        where = document.where(("budgets", request.budget)) if document else ""
        budgets.apply(tree, budget, Origin(f"budget {request.budget}", where))
    networks = {name: network for name, (network, _) in catalog.networks_of(found).items()}
    for path, value in request.settings:
        fault = readings.assign(tree, path, value, Origin("command line", f"--set {path}"), networks=networks)
        if fault:
            raise UsageFault(f"--set {path}: {fault}.", next=f"segbench show {table}/{row}")
    ran = _checked(tree, found, row, request.seed)
    return Resolved(found, row, dataset, request, published.protocol, ran, frozen(tree), published.readings)


def _published(catalog: Catalog, table: Table, row: str, dataset: str, request: Request) -> _Published:
    key = ("published", table.name, row, dataset, request.seed, request.readings, _added_entries())
    if key not in catalog.resolved:
        tree = layers(catalog, table, row, dataset)
        facts = {"table": table.name, "row": row, "dataset": dataset}
        uses = readings.apply(catalog, table, facts, tree, dict(request.readings))
        protocol = _checked(tree, table, row, request.seed)
        _check_scored(table, row, dataset, protocol)
        catalog.resolved[key] = _Published(protocol, frozen(tree), tuple(uses))
    found: _Published = catalog.resolved[key]
    return found


def _check_scored(table: Table, row: str, dataset: str, published: Protocol) -> None:
    """Raise InvalidFault if the row is scored on another data set than that of its figures."""
    if published.evaluation is None or dataset == "unstated":
        return
    name = published.evaluation.data.name
    if name != dataset:
        key = next((key for key in table.row(row).figures if key.split(".")[0] == dataset), None)
        where = table.document.where(("rows", row, "figures", key) if key else ("rows", row))
        text = f"figures on {dataset}, but data.name is {name}, of the row or its base"
        raise InvalidFault(f"{where}: {table.name}/{row}: {text}", next=f"segbench show {table.name}/{row}")


def _check_move(table: Table, row: str, on: str, published: Protocol) -> None:
    """Raise UsageFault if a row cannot be moved to another data set."""
    if on in table.datasets(row):
        raise UsageFault(
            f"{table.name}/{row} has figures on {on} itself; --on is for other data.",
            next=f"segbench reproduce {table.name}/{row} --dataset {on}",
        )
    if published.cost is not None:
        raise UsageFault(
            f"{table.name}/{row} is counted, not scored on images; it cannot be combined with --on.",
            next=f"segbench reproduce {table.name}/{row}",
        )


def _checked(tree: dict[str, Any], table: Table, row: str, seed: int) -> Protocol:
    protocol = build(plain(tree), seed=seed)
    if protocol.faults:
        leaves = {path: leaf for path, leaf in flatten(tree).items() if isinstance(leaf, Traced)}
        lines = []
        for location, text in protocol.faults:
            written, origin = _written(leaves, location)
            where = origin.where if origin else table.document.where(("rows", row))
            lines.append(f"{where}: {table.name}/{row}: {written}: {text}")
        raise InvalidFault(*dict.fromkeys(lines), next=f"segbench show {table.name}/{row}")
    return protocol


def _written(leaves: dict[str, Traced], location: str) -> tuple[str, Origin | None]:
    """Return where a value of the protocol is written: at its location, or at one that a stage or stream inherits."""
    candidates = list(_inherited(location))
    for cut in range(location.count(".") + 1):
        for candidate in candidates:
            prefix = ".".join(candidate.split(".")[: candidate.count(".") + 1 - cut])
            for path, leaf in leaves.items() if prefix else ():
                if path == prefix or path.startswith(prefix + "."):
                    return candidate, leaf.origin
    return location, None


def _inherited(location: str) -> Iterator[str]:
    yield location
    names = location.split(".")
    rest = names[2:]
    if names[0] != "stages":
        return
    if rest[:1] == ["streams"]:
        rest = names[4:]
        rest = ["schedule", *rest] if rest[:1] in (["crop"], ["batch_total"]) else rest
        yield ".".join([*names[:2], *rest])
    yield ".".join(rest)


def _data(protocol: Protocol) -> list[DataSpec]:
    """Return all data that a protocol reads."""
    stages = protocol.training.stages if protocol.training else ()
    found = [stream.data for stage in stages for stream in stage.streams.values()]
    return [*found, *([protocol.evaluation.data] if protocol.evaluation else [])]


def typed_values(protocol: Protocol) -> dict[str, Any]:
    """Return every value of a single-stage protocol by its dotted path in a recipe, defaults included."""
    found: dict[str, Any] = {}
    if protocol.training is not None and len(protocol.training.stages) == 1:
        stage = protocol.training.stages[0]
        stream = stage.primary_stream
        found |= flatten({"data": stream.data.model_dump(), "augmentation": stream.augmentation.model_dump()})
        found |= flatten({"schedule": stage.schedule.model_dump(), "weights": stage.weights.model_dump()})
        model = stage.model
        found |= flatten({"model": {"align_corners": model.align_corners, "input": model.input.model_dump()}})
        for path, kind, choice in (
            ("model.backbone", "backbone", model.backbone),
            ("model.decoder", "decoder", model.decoder),
            ("method", "method", stage.method),
        ):
            if registry.is_registered(kind, choice.name):
                options = registry.chosen(kind, choice).model_dump()
                found |= {f"{path}.{key}": value for key, value in flatten(options).items()}
    if protocol.evaluation is not None:
        own = protocol.evaluation.model_dump(exclude={"data"})
        found |= flatten({"evaluation": {**own, "split": protocol.evaluation.data.splits[0]}})
    return found
