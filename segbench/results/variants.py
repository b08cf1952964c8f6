"""Every way in which the rows of a table were run or can be run, with the records that belong to each."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from segbench.core.errors import SegbenchError
from segbench.core.spec import digest
from segbench.recipe.catalog import Catalog, Table
from segbench.recipe.cost import cost_family
from segbench.recipe.figures import Figure
from segbench.recipe.resolve import Request, Resolved, resolve

from .record import Attempt, Record
from .snapshot import Snapshot
from .verdicts import RowVariant

Kind = Literal["training", "cost"]
_KINDS: dict[str, tuple[Kind, ...]] = {"exact": ("cost", "training"), "time": ("training", "cost")}


@dataclass(frozen=True)
class RowVariants:
    """Variants of a row on one data set, the one to show first.

    The full budget comes before smaller ones; then the row's own data before others, its own settings before changed
    ones, and within each of these default readings before others.

    Attributes:
        training, cost: with records of trainings, and with counts; every variant that was requested or that a budget
            alone defines.
        lost: attempts in the store that the recipe no longer understands, in words.
        stand_ins: records of the row's trainings on val, where only a server has the labels of the figures.
        failure: why the last training that was requested failed; None if none did.
    """

    training: tuple[RowVariant, ...]
    cost: tuple[RowVariant, ...]
    lost: tuple[str, ...] = ()
    stand_ins: tuple[Record, ...] = ()
    failure: str | None = None

    def of(self, kind: Kind) -> tuple[RowVariant, ...]:
        """Return the variants with records of a kind."""
        return self.cost if kind == "cost" else self.training


@dataclass(frozen=True)
class TableVariants:
    """Variants of all rows of a table.

    Attributes:
        rows: by row and data set.
        pairs: a row and its baseline row under one request each time, the pair to show first, by row, baseline row,
            data set and kind of record.
    """

    rows: Mapping[tuple[str, str], RowVariants]
    pairs: Mapping[tuple[str, str, str, Kind], tuple[tuple[RowVariant, RowVariant], ...]]


def gather_variants(catalog: Catalog, table: Table, snapshot: Snapshot) -> TableVariants:
    """Resolve every row of a table under every request, once, and collect its records.

    Equal trainings are found from every row and table that means them.
    """
    gatherer = _Gatherer(catalog, table, snapshot)
    rows = {(row, dataset): gatherer.row(row, dataset) for row in table.file.rows for dataset in table.datasets(row)}
    relative = [figure for figure in table.figures() if figure.over is not None]
    keys = {(each.row, str(each.over), each.dataset, kind) for each in relative for kind in record_kinds(each)}
    return TableVariants(rows, {key: gatherer.pairs(*key) for key in keys})


def only_budget(variants: TableVariants, budget: str) -> TableVariants:
    """Return the variants with the records of one budget alone."""

    def kept(variant: RowVariant) -> RowVariant:
        return variant if variant.budget == budget else replace(variant, records=())

    rows = {
        key: replace(own, training=tuple(map(kept, own.training)), cost=tuple(map(kept, own.cost)))
        for key, own in variants.rows.items()
    }
    pairs = {key: tuple((kept(one), kept(other)) for one, other in own) for key, own in variants.pairs.items()}
    return TableVariants(rows, pairs)


def has_results(catalog: Catalog, table: Table, snapshot: Snapshot) -> bool:
    """Return whether a row of a table was asked for, or has a record; far cheaper than its variants."""
    if snapshot.attempts(table.name):
        return True
    gatherer = _Gatherer(catalog, table, snapshot)
    pairs = [(row, dataset) for row in table.file.rows for dataset in table.datasets(row)]
    if any(snapshot.scored_as(table.name, *pair) for pair in pairs):
        return True
    budgets = [budget for budget in ("full", *catalog.budgets) if budget in snapshot.budgets]
    return any(gatherer.has_records(*pair, Request(budget)) for budget in budgets for pair in pairs)


def record_kinds(figure: Figure) -> tuple[Kind, ...]:
    """Return the kinds of records that can hold a figure, the preferred one first."""
    return _KINDS.get(figure.kind, ("training",))


class _Gatherer:
    """Variants of one table's rows; every request of a row is resolved once."""

    def __init__(self, catalog: Catalog, table: Table, snapshot: Snapshot) -> None:
        self._catalog, self._table, self._snapshot = catalog, table, snapshot
        self._attempts: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
        self._asked: dict[tuple[str, str, str], list[Attempt]] = defaultdict(list)
        for attempt in snapshot.attempts(table.name):
            self._attempts[attempt.row, attempt.dataset].append(attempt)
            self._asked[attempt.row, attempt.dataset, _key(_request(attempt))].append(attempt)
        self._resolved: dict[tuple[str, str, str], Resolved | SegbenchError] = {}
        self._single: dict[tuple[str, str, str, Kind], RowVariant] = {}
        self._variants: dict[tuple[str, str, Kind], tuple[list[RowVariant], list[str]]] = {}

    def row(self, row: str, dataset: str) -> RowVariants:
        """Return the variants of a row on a data set."""
        training, lost = self._collected(row, dataset, "training")
        cost, _ = self._collected(row, dataset, "cost")
        reasons = [self._snapshot.failure(attempt.training) for attempt in self._attempts[row, dataset]]
        return RowVariants(
            tuple(training),
            tuple(cost),
            tuple(lost),
            self._stand_ins(training),
            next((reason for reason in reversed(reasons) if reason), None),
        )

    def pairs(self, row: str, over: str, dataset: str, kind: Kind) -> tuple[tuple[RowVariant, RowVariant], ...]:
        """Return the row and its baseline row, both under one request each time."""
        return tuple(self._paired(row, over, dataset, kind))

    def _stand_ins(self, variants: Sequence[RowVariant]) -> tuple[Record, ...]:
        for variant in variants:
            ran, scored = variant.resolved.ran, variant.resolved.scored
            if ran.training is not None and scored is not None and scored != ran.evaluation:
                found = self._snapshot.trained(ran.training.family(), digest(scored.canonical()))
                if found:
                    return tuple(found)
        return ()

    def _collected(self, row: str, dataset: str, kind: Kind) -> tuple[list[RowVariant], list[str]]:
        key = (row, dataset, kind)
        if key not in self._variants:
            self._variants[key] = self._collect(row, dataset, kind)
        return self._variants[key]

    def _collect(self, row: str, dataset: str, kind: Kind) -> tuple[list[RowVariant], list[str]]:
        found: dict[str, RowVariant] = {}
        lost: list[str] = []
        requested = {_key(request): request for request in map(_request, self._attempts[row, dataset])}
        budgets = [budget for budget in self._catalog.budgets if budget in self._snapshot.budgets]
        plain = {_key(request): request for request in map(Request, ("full", *budgets))}
        for key, request in sorted({**plain, **requested}.items(), key=lambda item: self._rank(item[1])):
            try:
                variant = self._variant(row, dataset, request, kind)
            except SegbenchError as error:
                if request.budget == "full" and request.is_plain:
                    raise
                if key in requested:
                    lost.append(f"{_describe(request)}: {error.faults[0]}")
                continue
            identity = _identity(variant.resolved, kind)
            first = found.setdefault(identity, variant)
            if key in requested:
                seeds, looks = first.planned | variant.planned, max(first.looks, variant.looks)
                found[identity] = replace(first, requested=True, planned=seeds, looks=looks)
        return list(found.values()), lost

    def _paired(self, row: str, over: str, dataset: str, kind: Kind) -> Iterator[tuple[RowVariant, RowVariant]]:
        requests = {
            _key(variant.resolved.request): variant.resolved.request
            for name in (row, over)
            for variant in self._collected(name, dataset, kind)[0]
        }
        for request in sorted(requests.values(), key=self._rank):
            try:
                yield self._variant(row, dataset, request, kind), self._variant(over, dataset, request, kind)
            except SegbenchError:  # a reading or setting that one of the rows does not have
                continue

    def _variant(self, row: str, dataset: str, request: Request, kind: Kind) -> RowVariant:
        key = (row, dataset, _key(request), kind)
        if key not in self._single:
            resolved = self._resolve(row, dataset, request)
            asked = self._asked[row, dataset, _key(request)]
            planned = frozenset(attempt.seed for attempt in asked)
            looks = max((attempt.look for attempt in asked), default=1)
            self._single[key] = RowVariant(resolved, tuple(self._records(resolved, kind)), False, planned, looks)
        return self._single[key]

    def _resolve(self, row: str, dataset: str, request: Request) -> Resolved:
        key = (row, dataset, _key(request))
        if key not in self._resolved:
            try:
                self._resolved[key] = resolve(self._catalog, self._table.name, row, dataset, request)
            except SegbenchError as error:
                self._resolved[key] = error
        found = self._resolved[key]
        if isinstance(found, SegbenchError):
            raise found
        return found

    def has_records(self, row: str, dataset: str, request: Request) -> bool:
        """Return whether a row has a record under a request; False if it cannot be asked for so."""
        try:
            resolved = self._resolve(row, dataset, request)
        except SegbenchError:
            return False
        return bool(self._records(resolved, "training") or self._records(resolved, "cost"))

    def _records(self, resolved: Resolved, kind: Kind) -> Sequence[Record]:
        ran = resolved.ran
        if kind == "cost":
            return self._snapshot.counted(cost_family(resolved)) if has_cost(resolved) else ()
        if ran.training is None or ran.evaluation is None:
            return ()
        return self._snapshot.trained(ran.training.family(), digest(ran.evaluation.canonical()))

    def _rank(self, request: Request) -> tuple[float, float, str, int]:
        budget = self._catalog.budgets.get(request.budget)
        steps = budget.max_steps if budget and budget.max_steps else math.inf
        pixels = budget.max_crop_pixels if budget and budget.max_crop_pixels else math.inf
        special = 4 * bool(request.settings) + 2 * bool(request.on) + bool(request.readings)
        return (-steps, -pixels, "" if request.budget == "full" else request.budget, special)


def has_cost(resolved: Resolved) -> bool:
    """Return True if a row counts its network instead of training it."""
    return resolved.published.cost is not None and resolved.published.training is not None


def value_of(record: Record, figure: Figure) -> float | None:
    """Return a record's value of a figure's metric or class; None if there is none, or none that is finite."""
    if figure.class_name is not None:
        classes = {class_key(name): value for name, value in record.per_class.items()}
        value = classes.get(class_key(figure.class_name))
    else:
        value = record.figures.get(figure.measured_as)
    return value if value is not None and math.isfinite(value) else None


def values_of(variant: RowVariant | None, figure: Figure) -> dict[int, float]:
    """Return a figure's value for every seed that has one."""
    found = {record.seed: value_of(record, figure) for record in variant.records} if variant is not None else {}
    return {seed: value for seed, value in found.items() if value is not None}


def class_key(name: str) -> str:
    """Return a class's name as recipes write it: ``traffic light`` -> ``traffic_light``."""
    return "_".join("".join(sign if sign.isalnum() else " " for sign in name.lower()).split())


def _identity(resolved: Resolved, kind: Kind) -> str:
    """Return a digest that is equal for requests that mean the same runs."""
    ran = resolved.ran
    if kind == "cost" and has_cost(resolved):
        return cost_family(resolved)
    family = ran.training.family() if ran.training else ""
    return digest([family, ran.evaluation.canonical() if ran.evaluation else None])


def _request(attempt: Attempt) -> Request:
    readings = tuple(sorted(attempt.readings.items()))
    return Request(attempt.budget, readings=readings, settings=tuple(attempt.settings.items()), on=attempt.on)


def _key(request: Request) -> str:
    return digest([request.budget, dict(request.readings), list(request.settings), request.on])


def _describe(request: Request) -> str:
    changes = [f"{name}={value}" for name, value in (*request.readings, *request.settings)]
    return ", ".join([f"budget {request.budget}", *([f"on {request.on}"] if request.on else []), *changes])
