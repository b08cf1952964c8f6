"""Execution of a plan: every job through a launcher; one that fails is noted, and the others go on."""

from dataclasses import dataclass, field

from segbench.core.progress import SILENT, Observer
from segbench.engine.runtime import Runtime

from .folders import Folders
from .launch import InProcess, Launcher
from .outcome import JobFailure, JobResult
from .plan import Plan, attempt_of


@dataclass
class Execution:
    """Outcome of a plan.

    Attributes:
        done: finished jobs.
        failed: trainings that did not finish, and why.
    """

    done: list[JobResult] = field(default_factory=list)
    failed: list[JobFailure] = field(default_factory=list)


def execute(
    plan: Plan,
    folders: Folders,
    runtime: Runtime,
    *,
    launcher: Launcher | None = None,
    observer: Observer = SILENT,
    command: str = "",
) -> Execution:
    """Run what a plan has left to do.

    Args:
        plan: what to do.
        folders: results and data.
        runtime: device and precision.
        launcher: runs the jobs; one after the other in this process by default.
        observer: receives progress, and is polled for a stop request.
        command: for the records; the command line by default.

    Raises:
        RunFault: the results folder cannot be written.
        Interrupted: a stop was requested; everything done is saved.
    """
    store = folders.store
    store.check_writable()
    store.note_attempts([attempt_of(item) for item in plan.items if item.status != "waits"])
    execution = Execution()
    for outcome in (launcher or InProcess()).run(plan.jobs(command=command), folders, runtime, observer=observer):
        if isinstance(outcome, JobFailure):
            execution.failed.append(outcome)
        else:
            execution.done.append(outcome)
    return execution
