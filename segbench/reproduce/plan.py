"""Plan of a table: trainings, evaluations and counts, equal ones once, with what the store has already."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from segbench.core.errors import UsageFault
from segbench.core.spec import EvaluationSpec, StageSpec, TrainingSpec, evaluation_id
from segbench.data.handle import find_dataset
from segbench.data.presence import presence
from segbench.data.subsets import draw_fault, seeded
from segbench.recipe import deviations
from segbench.recipe.catalog import Catalog
from segbench.recipe.cost import cost_family
from segbench.recipe.resolve import Request, Resolved, resolve
from segbench.results.record import Attempt

from .folders import Folders
from .job import CountJob, EvaluationTask, Job, TrainingJob, command_line
from .scoring import needed_splits

Status = Literal["to do", "done", "shared", "waits"]


@dataclass
class Item:
    """One row on one data set with one seed.

    Attributes:
        resolved: the row.
        seed: of its training.
        status: ``shared`` means that an equal training earlier in the plan serves it.
        reason: why it waits, or the row that it shares with.
        training: id; empty if nothing is trained.
        evaluation: id of its record.
        lacking: names of the data sets that it waits for and that can be read here.
        seconds: estimate; None if nothing runs, or another item's run serves.
        memory_bytes: estimate.
    """

    resolved: Resolved
    seed: int
    status: Status
    reason: str = ""
    training: str = ""
    evaluation: str = ""
    lacking: tuple[str, ...] = ()
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
        """Optimiser steps of all stages; 0 if nothing is trained."""
        return sum(stage.schedule.steps for stage in self._stages)

    @property
    def batch_total(self) -> int:
        """Images of one step of the last stage; 0 if nothing is trained."""
        return sum(stream.batch_total for stage in self._stages[-1:] for stream in stage.streams.values())

    @property
    def trained(self) -> TrainingSpec | None:
        """Its training; None if nothing is trained."""
        return None if self.resolved.is_counted else self.resolved.ran.training

    @property
    def _stages(self) -> tuple[StageSpec, ...]:
        return () if self.trained is None else self.trained.stages


@dataclass
class Plan:
    """Everything that ``reproduce`` would do."""

    table: str
    title: str
    request: Request
    seeds: int
    items: list[Item] = field(default_factory=list)

    def trainings(self) -> dict[str, tuple[TrainingSpec, list[Item]]]:
        """Return the trainings to run, each once, with the items they serve."""
        found: dict[str, tuple[TrainingSpec, list[Item]]] = {}
        for item in self.items:
            if item.runs and (training := item.trained) is not None:
                found.setdefault(item.training, (training, []))[1].append(item)
        return found

    def counts(self) -> list[Item]:
        """Return the items that only count parameters and multiply-adds."""
        return [item for item in self.items if item.runs and not item.training]

    def jobs(self, *, command: str = "") -> list[Job]:
        """Return what is to be done, counts first.

        Args:
            command: for the records; the command line by default.
        """
        said = command or command_line()
        counts: dict[str, Job] = {}
        for item in self.counts():
            if item.evaluation not in counts and (job := _count_job(item)) is not None:
                counts[item.evaluation] = job
        return [*counts.values(), *(_training_job(spec, items, said) for spec, items in self.trainings().values())]

    def job_seconds(self) -> list[float]:
        """Return the estimated seconds of every training job, in order."""
        return [items[0].seconds or 0.0 for _, items in self.trainings().values()]

    @property
    def missing(self) -> list[str]:
        """Reasons why items cannot run, each once."""
        return list(dict.fromkeys(item.reason for item in self.items if item.status == "waits"))

    @property
    def lacking_data(self) -> list[str]:
        """Readable data sets that are missing or incomplete, each once."""
        return list(dict.fromkeys(name for item in self.items for name in item.lacking))

    @property
    def readings(self) -> dict[str, str]:
        """Readings that the rows rest on, each with the option taken."""
        return {use.name: use.option for item in self.items for use in item.resolved.readings}

    @property
    def recollections(self) -> dict[str, str]:
        """Options by reading that nobody has found in a text and that the request does not ask for."""
        asked = {name for name, _ in self.request.readings}
        return {
            use.name: use.option
            for item in self.items
            for use in item.resolved.readings
            if use.is_recollected and not asked & {use.name, use.reading.group}
        }

    @property
    def seconds(self) -> float:
        """Estimate for everything that runs."""
        return sum(item.seconds or 0.0 for item in self.items)


def make_plan(
    catalog: Catalog,
    table: str,
    folders: Folders,
    *,
    row: str | None = None,
    dataset: str | None = None,
    request: Request,
    seeds: int = 1,
) -> Plan:
    """Resolve the rows that are asked for, and look up what is there.

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
                plan.items.append(_item(resolve(catalog, table, name, data, seeded), folders))
    _check_readings(plan, request)
    _share(plan)
    return plan


def attempt_of(item: Item) -> Attempt:
    """Return the trace that an item leaves in the store."""
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


def _item(resolved: Resolved, folders: Folders) -> Item:
    store, seed = folders.store, resolved.request.seed
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
    for stage in resolved.ran.training.stages:
        for stream in stage.streams.values():
            if fault := draw_fault(seeded(stream.data, resolved.ran.training.seed)):
                item.status, item.reason = "waits", f"waits for {fault}"
                return item
    for name, splits in needed_splits(resolved.ran.training.stages, resolved.scored).items():
        dataset = find_dataset(name, folders.data)
        status = presence(dataset, splits).status
        if status != "ready":
            missing = f"{dataset.options.title}: {status}"
            item.reason = f"{item.reason}, {missing}" if item.reason else f"waits for {missing}"
            item.status = "waits"
            item.lacking += (name,) if dataset.readable else ()
    return item


def task_of(item: Item, spec: EvaluationSpec) -> EvaluationTask:
    """Return an evaluation of an item's training."""
    return EvaluationTask(
        evaluation_id(item.training, spec), spec, _deviations(item.resolved), item.resolved.request.budget
    )


def _training_job(training: TrainingSpec, items: Sequence[Item], command: str) -> TrainingJob:
    tasks: dict[str, EvaluationTask] = {}
    for item in items:
        if (spec := item.resolved.scored) is not None and item.evaluation not in tasks:
            tasks[item.evaluation] = task_of(item, spec)
    rows = tuple(dict.fromkeys(item.name for item in items))
    return TrainingJob(rows, items[0].resolved.runs_on, training, tuple(tasks.values()), command)


def _count_job(item: Item) -> CountJob | None:
    training, cost = item.resolved.ran.training, item.resolved.ran.cost
    if training is None or cost is None:
        return None
    return CountJob(
        item.evaluation,
        item.name,
        item.resolved.dataset,
        training,
        cost,
        _deviations(item.resolved),
        item.resolved.request.budget,
    )


def _deviations(resolved: Resolved) -> tuple[dict[str, Any], ...]:
    return tuple(each.as_json() for each in deviations.between(resolved.published, resolved.ran))


def _check_readings(plan: Plan, request: Request) -> None:
    """Raise on a reading that none of the rows rests on: it would change nothing."""
    groups = {use.reading.group for item in plan.items for use in item.resolved.readings}
    idle = [name for name, _ in request.readings if name not in plan.readings and name not in groups]
    if idle:
        raise UsageFault(
            f"Reading {idle[0]!r} touches none of these rows.", next=f"segbench show {plan.table} --readings"
        )


def _share(plan: Plan) -> None:
    """Mark the items that an earlier item of the plan serves."""
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
    """Return the plan as plain data."""
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
