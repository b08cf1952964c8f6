"""One run of a table or row: planned, then executed, then compared with the publication."""

from dataclasses import dataclass, field
from typing import Any

from segbench.checkpoints.backbone_weights import weights_need
from segbench.core.errors import MissingFault, UsageFault
from segbench.core.progress import SILENT, Observer
from segbench.core.to_fetch import ToFetch
from segbench.data.facts import facts, obtain_command
from segbench.data.subsets import published_need
from segbench.engine.runtime import Runtime
from segbench.recipe.catalog import Catalog
from segbench.recipe.resolve import Request

from .estimates import estimate_plan
from .execute import Execution, execute
from .folders import Folders
from .launch import Launcher, local
from .plan import Plan, as_json, make_plan
from .preparation import Preparation, preparations
from .target import require_target


@dataclass(frozen=True)
class TableRun:
    """A planned run of a table or row.

    Attributes:
        catalog: the recipes.
        plan: what is to be done.
        folders: results and data.
        runtime: device and precision.
        target: words of the command line that name what is run.
        prepares: splits that trainings will decode once.
    """

    catalog: Catalog
    plan: Plan
    folders: Folders
    runtime: Runtime
    target: str
    prepares: list[Preparation] = field(default_factory=list)

    @property
    def needs(self) -> list[ToFetch]:
        """Data, lists and weights that are missing."""
        needs = []
        for name in self.plan.lacking_data:
            known = facts(name)
            size = f"{known.size_bytes / 1e9:.1f} GB"
            needs.append(ToFetch(f"{known.title}, {size}. {known.licence}", obtain_command(name)))
        for spec, _ in self.plan.trainings().values():
            found = [
                weights_need(stage.model.backbone, stage.weights.backbone, file=stage.weights.file)
                for stage in spec.stages
            ]
            lists = [published_need(stream.data) for stage in spec.stages for stream in stage.streams.values()]
            needs += [need for need in (*found, *lists) if need]
        return list(dict.fromkeys(needs))

    @property
    def too_large(self) -> list[str]:
        """Names of rows that will probably not fit into the device's memory."""
        there = self.runtime.memory_bytes()
        large = [item for item in self.plan.items if there is not None and (item.memory_bytes or 0) > there]
        return list(dict.fromkeys(item.name for item in large))

    def require_runnable(self) -> None:
        """Raise if nothing of the plan can run.

        Raises:
            MissingFault: every row lacks something; a line a reason.
        """
        plan = self.plan
        if plan.items and all(item.status == "waits" for item in plan.items):
            faults = [f"{plan.table} cannot run here: {reason}." for reason in plan.missing]
            raise MissingFault(*faults, next=self._way_out())

    def execute(
        self,
        *,
        jobs: int = 1,
        launcher: Launcher | None = None,
        observer: Observer = SILENT,
        command: str = "",
    ) -> Execution:
        """Do what the plan says.

        Args:
            jobs: at a time on this machine.
            launcher: runs the jobs elsewhere.
            observer: receives progress, and is polled for a stop request.
            command: for the records; the command line by default.

        Raises:
            RunFault: the results folder cannot be written.
            Interrupted: a stop was requested; everything done is saved.
        """
        chosen = launcher or local(jobs)
        return execute(self.plan, self.folders, self.runtime, launcher=chosen, observer=observer, command=command)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain data, with what it needs and prepares."""
        needs = [each._asdict() for each in self.needs]
        return {**as_json(self.plan), "needs": needs, "prepares": [each.as_json() for each in self.prepares]}

    def _way_out(self) -> str:
        """Return a command that helps if nothing can run: get the data, do without it, or look for something else."""
        if self.plan.lacking_data:
            return obtain_command(self.plan.lacking_data[0])
        only_data = all(reason.startswith("waits for data set ") for reason in self.plan.missing)
        return f"segbench reproduce {self.target} --budget smoke" if only_data else "segbench list"


def plan_table(
    catalog: Catalog,
    table: str,
    folders: Folders,
    runtime: Runtime,
    *,
    row: str | None = None,
    dataset: str | None = None,
    request: Request,
    seeds: int = 1,
) -> TableRun:
    """Plan a table or row.

    Args:
        catalog: the recipes.
        table, row: what is run; all rows by default.
        folders: results and data.
        runtime: device and precision.
        dataset: only figures of this data set.
        request: budget, seed, readings and settings.
        seeds: number of seeds per row.

    Raises:
        UsageFault: unknown table, row, data set, budget, reading or option; or a micro-batch that cuts no batch.
        InvalidFault: a protocol has faults.
    """
    require_target(catalog, table, row, dataset, on=request.on, budget=request.budget)
    plan = make_plan(catalog, table, folders, row=row, dataset=dataset, request=request, seeds=seeds)
    _check_micro_batch(plan, request)
    prepares = preparations(plan, folders) if folders.use_cache else []
    target = table + (f"/{row}" if row else "")
    narrowed = target + (f" --dataset {dataset}" if dataset else "") + (f" --on {request.on}" if request.on else "")
    return TableRun(catalog, plan, folders, runtime, narrowed, prepares)


def estimate_run(run: TableRun) -> None:
    """Fill in the plan's seconds and memory from a short probe on this machine.

    Raises:
        InvalidFault: an evaluation asks for features of a layer that the network does not have.
    """
    estimate_plan(run.plan, run.runtime, run.folders)


def _check_micro_batch(plan: Plan, request: Request) -> None:
    """Raise on a micro-batch that cuts no batch: it would change nothing."""
    micro_batch = dict(request.settings).get("schedule.micro_batch")
    trainings = [item.resolved.ran.training for item in plan.items]
    counts = [stage.micro_batches for training in trainings if training is not None for stage in training.stages]
    if micro_batch is not None and max(counts, default=1) == 1:
        raise UsageFault(
            f"--micro-batch {micro_batch} cuts nothing: no batch here has more images.",
            next=f"segbench reproduce {plan.table} --dry-run",
        )
