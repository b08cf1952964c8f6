"""Finds the records that belong to a row, and every way in which the row was tried."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from segbench.core.errors import SegbenchError
from segbench.core.spec import digest
from segbench.recipe.catalog import Catalog, Table
from segbench.recipe.cost import cost_family
from segbench.recipe.figures import Figure
from segbench.recipe.resolve import Request, Resolved, resolve

from .record import Attempt, Record
from .store import Store
from .verdicts import Tried

Kind = Literal["training", "cost"]


class Finder:
    """Records of one table's rows. Equal trainings are found from every row and table that means them."""

    def __init__(self, catalog: Catalog, table: Table, store: Store) -> None:
        self._catalog, self._table, self._store = catalog, table, store
        self._asked: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
        for attempt in store.attempts(table.name):
            self._asked[attempt.row, attempt.dataset].append(attempt)
        self._records: dict[tuple[str, ...], list[Record]] = defaultdict(list)
        for record in store.records():
            if record.kind != "checkpoint":
                evaluation = digest(record.evaluation_spec) if record.kind == "training" else ""
                self._records[record.kind, record.family, evaluation].append(record)
        self._cache: dict[tuple[str, str, Kind], tuple[list[Tried], list[str]]] = {}

    def tried(self, row: str, dataset: str, kind: Kind = "training") -> list[Tried]:
        """Every way in which the row was tried or can be by budget alone, the one to show first.

        The full budget comes before smaller ones; then the row's own data before others, its own settings before
        changed ones, and within each of these default readings before others.
        """
        return self._all(row, dataset, kind)[0]

    def lost(self, row: str, dataset: str) -> list[str]:
        """Attempts in the store that the recipe no longer understands."""
        return self._all(row, dataset, "training")[1]

    def pairs(self, row: str, over: str, dataset: str, *, kind: Kind = "training") -> Iterator[tuple[Tried, Tried]]:
        """The row and the one that it is compared with under one request each time, the one to show first."""
        requests = {
            _key(tried.resolved.request): tried.resolved.request
            for name in (row, over)
            for tried in self.tried(name, dataset, kind)
        }
        for request in sorted(requests.values(), key=self._rank):
            try:
                sides = [resolve(self._catalog, self._table.name, name, dataset, request) for name in (row, over)]
            except SegbenchError:  # a reading or setting that means nothing for one of the rows
                continue
            yield self._find(sides[0], kind), self._find(sides[1], kind)

    def stand_ins(self, row: str, dataset: str) -> list[Record]:
        """Records of the row's trainings on val, where only a server has the labels of the figures; best first."""
        for tried in self.tried(row, dataset):
            ran, scored = tried.resolved.ran, tried.resolved.scored
            if ran.training is not None and scored is not None and scored != ran.evaluation:
                found = self._records["training", ran.training.family(), digest(scored.canonical())]
                if found:
                    return sorted(found, key=lambda record: (record.seed, record.id))
        return []

    def failure(self, row: str, dataset: str) -> str | None:
        """Why the last training that somebody asked for failed."""
        reasons = [self._store.failure(attempt.training) for attempt in self._asked[row, dataset]]
        return next((reason for reason in reversed(reasons) if reason), None)

    def _all(self, row: str, dataset: str, kind: Kind) -> tuple[list[Tried], list[str]]:
        key = (row, dataset, kind)
        if key not in self._cache:
            self._cache[key] = self._collect(row, dataset, kind)
        return self._cache[key]

    def _collect(self, row: str, dataset: str, kind: Kind) -> tuple[list[Tried], list[str]]:
        found: dict[str, Tried] = {}
        lost: list[str] = []
        asked = {_key(request): request for request in map(_request, self._asked[row, dataset])}
        plain = {_key(request): request for request in map(Request, ("full", *self._catalog.budgets))}
        for key, request in sorted({**plain, **asked}.items(), key=lambda item: self._rank(item[1])):
            try:
                resolved = resolve(self._catalog, self._table.name, row, dataset, request)
            except SegbenchError as error:
                if request.budget == "full" and request.is_plain:
                    raise
                if key in asked:
                    lost.append(f"{_words(request)}: {error.faults[0]}")
                continue
            identity = _identity(resolved, kind)
            tried = found.get(identity) or self._find(resolved, kind)
            found[identity] = replace(tried, asked=tried.asked or key in asked)
        return list(found.values()), lost

    def _find(self, resolved: Resolved, kind: Kind) -> Tried:
        records: Iterable[Record] = ()
        ran = resolved.ran
        if kind == "cost":
            if has_cost(resolved):
                records = self._records["cost", cost_family(resolved), ""]
        elif ran.training is not None and ran.evaluation is not None:
            evaluation = digest(ran.evaluation.canonical())
            records = self._records["training", ran.training.family(), evaluation]
        return Tried(resolved, tuple(sorted(records, key=lambda record: (record.seed, record.id))))

    def _rank(self, request: Request) -> tuple[float, float, str, int]:
        budget = self._catalog.budgets.get(request.budget)
        steps = budget.max_steps if budget and budget.max_steps else math.inf
        pixels = budget.max_crop_pixels if budget and budget.max_crop_pixels else math.inf
        special = 4 * bool(request.settings) + 2 * bool(request.on) + bool(request.readings)
        return (-steps, -pixels, "" if request.budget == "full" else request.budget, special)


def has_cost(resolved: Resolved) -> bool:
    return resolved.published.cost is not None and resolved.published.training is not None


def value_of(record: Record, figure: Figure) -> float | None:
    """What a record holds for a figure's metric or class; None if nothing, or nothing finite."""
    if figure.class_name is not None:
        classes = {class_key(name): value for name, value in record.per_class.items()}
        value = classes.get(class_key(figure.class_name))
    else:
        value = record.figures.get(figure.base_metric)
    return value if value is not None and math.isfinite(value) else None


def _identity(resolved: Resolved, kind: Kind) -> str:
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


def _words(request: Request) -> str:
    parts = [f"{name}={value}" for name, value in (*request.readings, *request.settings)]
    return ", ".join([f"budget {request.budget}", *([f"on {request.on}"] if request.on else []), *parts])


def class_key(name: str) -> str:
    """A class's name as recipes write it: ``traffic light`` -> ``traffic_light``."""
    return "_".join("".join(sign if sign.isalnum() else " " for sign in name.lower()).split())
