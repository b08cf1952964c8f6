"""What a table needs: trainings, evaluations and counts, equal ones once, with what is there already."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from segbench.core.errors import UsageFault
from segbench.core.spec import EvaluationSpec, StageSpec, TrainingSpec, evaluation_id
from segbench.data.facts import facts
from segbench.data.handle import find_dataset
from segbench.data.presence import presence
from segbench.recipe.catalog import Catalog
from segbench.recipe.resolve import Request, Resolved, resolve
from segbench.results.compare import cost_family
from segbench.results.record import Attempt
from segbench.results.store import Store

Status = Literal["to do", "done", "shared", "waits"]


@dataclass
class Item:
    """One row on one data set with one seed.

    Attributes:
        resolved: the row.
        seed: of its training.
        status: ``shared`` means that an equal training earlier in the plan serves it.
        reason: why it waits, or whom it shares with.
        training: id, empty where nothing is trained.
        evaluation: id of its record.
        lacking: name of the data set that it waits for.
        seconds: estimate, None where nothing runs or another item's run serves.
        memory_bytes: estimate.
    """

    resolved: Resolved
    seed: int
    status: Status
    reason: str = ""
    training: str = ""
    evaluation: str = ""
    lacking: str = ""
    seconds: float | None = None
    memory_bytes: int | None = None

    @property
    def name(self) -> str:
        return self.resolved.row

    @property
    def runs(self) -> bool:
        return self.status in ("to do", "shared")

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages; 0 where nothing is trained."""
        return sum(stage.schedule.steps for stage in self._stages)

    @property
    def batch_total(self) -> int:
        """Images of one step of the last stage; 0 where nothing is trained."""
        return sum(stream.batch_total for stage in self._stages[-1:] for stream in stage.streams.values())

    @property
    def _stages(self) -> tuple[StageSpec, ...]:
        training = self.resolved.ran.training
        return training.stages if training is not None and not self.resolved.is_counted else ()


@dataclass
class Plan:
    """Everything that ``reproduce`` would do, before it does it."""

    table: str
    title: str
    request: Request
    seeds: int
    items: list[Item] = field(default_factory=list)

    def trainings(self) -> dict[str, tuple[TrainingSpec, list[Item]]]:
        """Trainings to run, each once, with the items they serve."""
        found: dict[str, tuple[TrainingSpec, list[Item]]] = {}
        for item in self.items:
            if item.runs and item.training:
                spec = item.resolved.ran.training
                assert spec is not None
                found.setdefault(item.training, (spec, []))[1].append(item)
        return found

    def counts(self) -> list[Item]:
        """Items that only count parameters and multiply-adds."""
        return [item for item in self.items if item.runs and not item.training]

    @property
    def missing(self) -> list[str]:
        """Reasons of everything that cannot run, each once."""
        return list(dict.fromkeys(item.reason for item in self.items if item.status == "waits"))

    @property
    def lacking_data(self) -> list[str]:
        """Names of the data sets that can be read, but are missing or incomplete, each once."""
        return list(dict.fromkeys(item.lacking for item in self.items if item.lacking))

    @property
    def readings(self) -> dict[str, str]:
        """Open points that the rows rest on, and the option taken."""
        return {use.name: use.option for item in self.items for use in item.resolved.readings}

    @property
    def seconds(self) -> float:
        """Estimate for everything that is to do."""
        return sum(item.seconds or 0.0 for item in self.items)


def make_plan(
    catalog: Catalog,
    table: str,
    store: Store,
    *,
    row: str | None = None,
    dataset: str | None = None,
    request: Request,
    seeds: int = 1,
    data_root: Path | None = None,
) -> Plan:
    """Resolve the rows asked for and look up what is there.

    Raises:
        UsageFault: unknown table, row, data set, budget, reading or option.
        InvalidFault: a protocol has faults.
    """
    found = catalog.table(table)
    plan = Plan(table, found.file.title, request, seeds)
    rows = [row] if row is not None else list(found.file.rows)
    for name in rows:
        for data in found.datasets(name):
            if dataset is not None and data != dataset:
                if row is not None and dataset not in found.datasets(name):
                    resolve(catalog, table, name, dataset, request)  # raises with the row's data sets
                continue
            for seed in range(seeds):
                seeded = replace(request, seed=request.seed + seed)
                plan.items.append(_item(resolve(catalog, table, name, data, seeded), store, data_root))
    _check_readings(plan, request)
    _share(plan)
    return plan


def attempt_of(item: Item) -> Attempt:
    """The trace that an item leaves in the store."""
    request = item.resolved.request
    return Attempt(
        table=item.resolved.table.name,
        row=item.resolved.row,
        dataset=item.resolved.dataset,
        budget=request.budget,
        seed=item.seed,
        readings=dict(request.readings),
        settings=dict(request.settings),
        on=request.on,
        training=item.training,
        evaluation=item.evaluation,
    )


def _item(resolved: Resolved, store: Store, data_root: Path | None) -> Item:
    seed = resolved.request.seed
    if resolved.is_counted:
        waits = [wait for wait in resolved.unsupported if not wait.startswith("data set")]
        if waits:
            return Item(resolved, seed, "waits", f"waits for {', '.join(waits)}")
        family = cost_family(resolved)
        return Item(resolved, seed, "done" if store.find(family) else "to do", evaluation=family)
    if resolved.unsupported:
        return Item(resolved, seed, "waits", f"waits for {', '.join(resolved.unsupported)}")
    if resolved.ran.training is None or resolved.scored is None:
        return Item(resolved, seed, "waits", "there is nothing to train or count")
    training = resolved.ran.training.id()
    evaluation = evaluation_id(training, resolved.scored)
    item = Item(resolved, seed, "to do", training=training, evaluation=evaluation)
    if store.find(evaluation) is not None:
        item.status = "done"
        return item
    for name, splits in needed_splits(resolved.ran.training.stages, resolved.scored).items():
        dataset = find_dataset(name, data_root)
        status = presence(dataset, splits).status
        if status != "ready":
            item.status, item.reason = "waits", f"waits for {dataset.options.title}: {status}"
            item.lacking = name if dataset.readable else ""
            break
    return item


def needed_splits(stages: Sequence[StageSpec], evaluation: EvaluationSpec | None = None) -> dict[str, list[str]]:
    """Names of the data sets that are read from files, with the splits that are trained, validated or scored on."""
    specs = [] if evaluation is None else [evaluation.data]
    for stage in stages:
        data = [stream.data for stream in stage.streams.values()]
        specs += data
        if stage.schedule.validate_every is not None and "val" in facts(data[0].name).splits:
            specs.append(data[0].model_copy(update={"splits": ("val",)}))
    needed: dict[str, list[str]] = {}
    for spec in specs:
        if spec.source == "folder":
            splits = needed.setdefault(spec.name, [])
            splits += [split for split in spec.splits if split not in splits]
    return needed


def _check_readings(plan: Plan, request: Request) -> None:
    """Refuse a reading that none of the rows rests on: it would change nothing."""
    idle = [name for name, _ in request.readings if name not in plan.readings]
    if idle:
        raise UsageFault(
            f"Reading {idle[0]!r} touches none of these rows.", next=f"segbench show {plan.table} --readings"
        )


def _share(plan: Plan) -> None:
    """Mark what an earlier item of the plan does already."""
    first: dict[str, Item] = {}
    for item in plan.items:
        if item.status != "to do":
            continue
        key = item.training or item.evaluation
        if key in first:
            item.status, item.reason = "shared", f"with {first[key].name}"
        else:
            first[key] = item


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    return {
        "schema": 1,
        "table": plan.table,
        "budget": plan.request.budget,
        "trainings": len(plan.trainings()),
        "seconds": plan.seconds,
        "readings": plan.readings,
        "items": [
            {
                "row": item.name,
                "dataset": item.resolved.dataset,
                "on": item.resolved.request.on,
                "seed": item.seed,
                "status": item.status,
                "reason": item.reason,
                "training": item.training,
                "evaluation": item.evaluation,
                "steps": item.steps,
                "batch_total": item.batch_total,
                "seconds": item.seconds,
                "memory_bytes": item.memory_bytes,
            }
            for item in plan.items
        ],
    }
