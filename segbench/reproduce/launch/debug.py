"""A launcher for tests: in this process, in order, through pickle, with every call recorded."""

import pickle
from collections.abc import Callable, Iterator, Sequence

from segbench.core.progress import Observer
from segbench.engine.runtime import Runtime
from segbench.reproduce.folders import Folders
from segbench.reproduce.job import Job
from segbench.reproduce.outcome import JobFailure, JobResult
from segbench.reproduce.run import attempt

Runner = Callable[[Job, Folders, Runtime], JobResult | JobFailure]


class DebugLauncher:
    """Launcher that hands every job through pickle, as to another process, and runs it here.

    Args:
        runner: stands in for running a job; None to run it.

    Attributes:
        jobs: every job that was run, in order.
    """

    def __init__(self, runner: Runner | None = None) -> None:
        self.runner = runner
        self.jobs: list[Job] = []

    def run(
        self, jobs: Sequence[Job], folders: Folders, runtime: Runtime, *, observer: Observer
    ) -> Iterator[JobResult | JobFailure]:
        """Run the jobs in their order, see ``Launcher.run``."""
        for job in jobs:
            sent = pickle.loads(pickle.dumps((job, folders, runtime)))
            self.jobs.append(sent[0])
            if self.runner is not None:
                yield self.runner(*sent)
            else:
                yield attempt(*sent, observer=observer)
