"""From a row to a protocol: base, table, row, readings, budget and command line, every value with its origin."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from segbench.core import support
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import has_part, is_registered, options_of
from segbench.core.spec import DataSpec, EvaluationSpec

from . import budgets, elsewhere, readings
from .catalog import Catalog, Table
from .figures import Figure
from .layers import layers
from .protocol import Origin, Protocol, Traced, build, flatten, plain
from .readings import ReadingUse

RANK: dict[str, int] = {"low": 0, "medium": 1, "high": 2}
STAND_IN = "val"  # what is scored here where only a server has the labels


@dataclass(frozen=True)
class Request:
    """What the user asks of a row: everything beyond the recipe that changes the protocol.

    Attributes:
        on: name of another data set that the row is run on, see ``elsewhere``.
    """

    budget: str = "full"
    seed: int = 0
    readings: tuple[tuple[str, str], ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    on: str | None = None

    @property
    def is_plain(self) -> bool:
        return not self.readings and not self.settings and self.on is None


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
        if not self.figures or any(figure.kind in ("trained", "feature") for figure in self.figures):
            waits += [
                f"data set {data.name}"
                for data in _data(self.ran)
                if data.source == "folder" and not has_part("dataset", data.name, "reader")
            ]
        if self.ran.training is not None and self.ran.cost is None:
            waits += [lack.wait for lack in support.of_training(self.ran.training)]
        measured = [figure for figure in self.figures if figure.measured]
        if self.figures and not measured:
            waits += [f"metric {name}" for name in dict.fromkeys(f.base_metric for f in self.figures)]
        return list(dict.fromkeys(waits))

    @property
    def is_counted(self) -> bool:
        """True if counting parameters and multiply-adds answers the row, with nothing to train."""
        return self.ran.cost is not None and any(figure.kind == "exact" for figure in self.figures)

    @property
    def runs_on(self) -> str:
        """Name of the data set that is trained on and scored, the one of its figures or another."""
        return self.request.on or self.dataset

    @property
    def server(self) -> str | None:
        """Who alone can score the row's figures, because the labels are not public."""
        return None if self.request.on else self.table.row(self.row).server

    @property
    def scored(self) -> EvaluationSpec | None:
        """The evaluation that can be done here: the protocol's, or on val where only a server has the labels."""
        evaluation = self.ran.evaluation
        if evaluation is None or self.server is None or evaluation.data.source == "generated":
            return evaluation
        data = evaluation.data.model_copy(update={"splits": (STAND_IN,)})
        return evaluation.model_copy(update={"data": data})

    @property
    def weakest_confidence(self) -> str | None:
        return min((use.confidence for use in self.readings), key=RANK.__getitem__, default=None)


def resolve(catalog: Catalog, table: str, row: str, dataset: str, request: Request | None = None) -> Resolved:
    """Resolve one row on one data set.

    Raises:
        UsageFault: unknown table, row, data set, budget, reading or option; a setting of what is not there; a row that
            is to be moved to data that it has figures on.
        InvalidFault: the resolved protocol has faults; all of them, each with file and line.
    """
    request = request or Request()
    found = catalog.table(table)
    known = found.datasets(row)
    if dataset not in known:
        raise UsageFault(
            f"{table}/{row} has no figures on {dataset!r}; it has {', '.join(known)}.",
            next=f"segbench show {table}",
        )
    tree = layers(catalog, found, row, dataset)
    facts = {"table": table, "row": row, "dataset": dataset}
    uses = readings.apply(catalog, found, facts, tree, dict(request.readings))
    published = _checked(tree, found, row, request.seed)
    if request.on is not None:
        if request.on in known:
            raise UsageFault(
                f"{table}/{row} has figures on {request.on} itself; --on is for other data.",
                next=f"segbench reproduce {table}/{row} --dataset {request.on}",
            )
        if published.cost is not None:
            raise UsageFault(
                f"{table}/{row} is counted, not scored on images; --on means nothing for it.",
                next=f"segbench reproduce {table}/{row}",
            )
        elsewhere.move(tree, request.on)
    budget = catalog.budget(request.budget)
    if budget is not None:
        document = catalog.budget_document
        where = document.where(("budgets", request.budget)) if document else ""
        budgets.apply(tree, budget, Origin(f"budget {request.budget}", where))
    for path, value in request.settings:
        fault = readings.assign(tree, path, value, Origin("command line", f"--set {path}"))
        if fault:
            raise UsageFault(f"--set {path}: {fault}.", next=f"segbench show {table}/{row}")
    changed = budget is not None or request.settings or request.on is not None
    ran = _checked(tree, found, row, request.seed) if changed else published
    return Resolved(found, row, dataset, request, published, ran, tree, uses)


def resolve_all(catalog: Catalog, table: str, request: Request | None = None) -> list[Resolved]:
    """Every row of a table on every one of its data sets, in the order printed."""
    found = catalog.table(table)
    return [
        resolve(catalog, table, row, dataset, request) for row in found.file.rows for dataset in found.datasets(row)
    ]


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
    """Where the value at a location of the protocol is written: there, or where a stage or stream takes it from."""
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
    """All data that a protocol reads."""
    stages = protocol.training.stages if protocol.training else ()
    found = [stream.data for stage in stages for stream in stage.streams.values()]
    return [*found, *([protocol.evaluation.data] if protocol.evaluation else [])]


def typed_values(protocol: Protocol) -> dict[str, Any]:
    """Every value of a typed single-stage protocol by the dotted path it has in a recipe, defaults included."""
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
            if is_registered(kind, choice.name):
                options = options_of(kind, choice.name).model_validate(choice.options)
                found |= {f"{path}.{key}": value for key, value in flatten(options.model_dump()).items()}
    if protocol.evaluation is not None:
        own = protocol.evaluation.model_dump(exclude={"data"})
        found |= flatten({"evaluation": {**own, "split": protocol.evaluation.data.splits[0]}})
    return found
