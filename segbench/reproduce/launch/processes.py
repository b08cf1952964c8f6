"""Several jobs at a time, each in a child process of its own on this machine."""

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from segbench.core.errors import Interrupted, RunFault
from segbench.core.progress import Count, Observer, Progress
from segbench.engine.runtime import Runtime
from segbench.reproduce.folders import Folders
from segbench.reproduce.job import Job, TrainingJob
from segbench.reproduce.outcome import JobFailure, JobResult
from segbench.reproduce.run import failed

from .base import numbered
from .child import STOP, Announced, Counted, Noted, held_signals, main

POLL_SECONDS = 0.2  # until a stop request is passed on


@dataclass(frozen=True)
class _Child:
    process: SpawnProcess
    job: Job
    slot: int
    counters: dict[tuple[str, str], Count]


class Processes:
    """Launcher that runs up to ``count`` jobs at a time in spawned processes.

    Each takes the memory of a whole run. Trainings that share a stage run one after the other.

    Args:
        count: jobs at a time.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def run(
        self, jobs: Sequence[Job], folders: Folders, runtime: Runtime, *, observer: Observer
    ) -> Iterator[JobResult | JobFailure]:
        """Run the jobs, see ``Launcher.run``."""
        numbers = numbered(jobs)
        waiting = list(jobs)
        running: dict[Connection, _Child] = {}
        interrupted: list[Interrupted] = []
        stopping = False
        try:
            while waiting or running:
                while not stopping and len(running) < self.count:
                    job = startable(waiting, [child.job for child in running.values()])
                    if job is None:
                        break
                    waiting.remove(job)
                    if job.id in numbers:
                        observer.announce(job.title, numbers[job.id], len(numbers))
                    slot = min(set(range(self.count)) - {child.slot for child in running.values()})
                    connection, child = _start(job, folders, runtime, slot=slot, count=self.count)
                    running[connection] = child
                if not running:
                    break
                for ready in wait(list(running), timeout=POLL_SECONDS):
                    assert isinstance(ready, Connection)
                    child = running[ready]
                    message = _receive(ready)
                    match message:
                        case JobResult() | JobFailure():
                            _end(running, ready)
                            yield message
                        case Interrupted():
                            _end(running, ready)
                            interrupted.append(Interrupted(f"{child.job.title}: {message.faults[0]}"))
                        case None:
                            _end(running, ready)
                            yield failed(child.job, _died(child.process), folders)
                        case _:
                            _show(message, child, observer)
                if not stopping and observer.stop_requested():
                    stopping = True
                    for connection in running:
                        _ask_to_stop(connection)
        finally:
            for child in running.values():
                child.process.kill()
                child.process.join()
        if stopping:
            faults = [error.faults[0] for error in interrupted] or ["Stopped between two trainings."]
            raise Interrupted(*faults, next="the same command goes on from there")


def startable(waiting: Sequence[Job], running: Sequence[Job]) -> Job | None:
    """Return the first job that shares no stage with one that runs."""
    taken = {stage for job in running if isinstance(job, TrainingJob) for stage in job.stage_ids()}
    for job in waiting:
        if not isinstance(job, TrainingJob) or taken.isdisjoint(job.stage_ids()):
            return job
    return None


def _start(job: Job, folders: Folders, runtime: Runtime, *, slot: int, count: int) -> tuple[Connection, _Child]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    threads = max(1, torch.get_num_threads() // count)
    process = context.Process(
        target=main, args=(theirs, job, folders, _on_device(runtime, slot), threads), name=f"segbench {job.title}"
    )
    with held_signals():
        process.start()
    theirs.close()  # so that the end of the child is the end of the pipe
    return ours, _Child(process, job, slot, {})


def _on_device(runtime: Runtime, slot: int) -> Runtime:
    """Spread jobs over the GPUs, unless one is named."""
    if runtime.device != "cuda" or torch.cuda.device_count() < 2:
        return runtime
    return replace(runtime, device=f"cuda:{slot % torch.cuda.device_count()}")


def _receive(connection: Connection) -> object:
    """Return the next message, None if the child has died."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return None


def _ask_to_stop(connection: Connection) -> None:
    try:
        connection.send(STOP)
    except OSError:
        return  # it has ended; what it said last is still to be read


def _end(running: dict[Connection, _Child], connection: Connection) -> None:
    child = running.pop(connection)
    connection.close()
    child.process.join()


def _died(process: SpawnProcess) -> RunFault:
    code = process.exitcode or 0
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    why = " (probably for lack of memory)" if code == -9 else ""
    return RunFault(f"The process of the training {how}{why}.", next="the same command with fewer --jobs")


def _show(message: object, child: _Child, observer: Observer) -> None:
    title = child.job.title
    match message:
        case Progress():
            observer.report(replace(message, job=title))
        case Noted(text):
            observer.note(f"{title}: {text}")
        case Announced(text, number, total):
            observer.announce(f"{title}: {text}", number, total)
        case Counted(what, unit, done, of):
            key = (what, unit)
            if key not in child.counters:
                child.counters[key] = observer.counter(f"{title}: {what}", unit)
            child.counters[key](done, of)
