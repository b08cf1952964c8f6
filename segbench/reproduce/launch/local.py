"""Jobs on this machine: in this process, or several at a time in processes of their own."""

from collections.abc import Iterator, Sequence

from segbench.core.progress import Observer
from segbench.engine.runtime import Runtime
from segbench.reproduce.folders import Folders
from segbench.reproduce.job import Job
from segbench.reproduce.outcome import JobFailure, JobResult
from segbench.reproduce.run import attempt

from .base import Launcher, numbered
from .processes import Processes


class InProcess:
    """Launcher that runs one job after the other in this process."""

    def run(
        self, jobs: Sequence[Job], folders: Folders, runtime: Runtime, *, observer: Observer
    ) -> Iterator[JobResult | JobFailure]:
        """Run the jobs in their order, see ``Launcher.run``."""
        numbers = numbered(jobs)
        for job in jobs:
            if job.id in numbers:
                observer.announce(job.title, numbers[job.id], len(numbers))
            yield attempt(job, folders, runtime, observer=observer)


def local(jobs: int = 1) -> Launcher:
    """Return the launcher for so many jobs at a time on this machine."""
    return InProcess() if jobs == 1 else Processes(jobs)
