"""The seam between planning and running."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from segbench.core.progress import Observer
from segbench.engine.runtime import Runtime
from segbench.reproduce.folders import Folders
from segbench.reproduce.job import CountJob, Job
from segbench.reproduce.outcome import JobFailure, JobResult


class Launcher(Protocol):
    """Runner of jobs, here or elsewhere."""

    def run(
        self, jobs: Sequence[Job], folders: Folders, runtime: Runtime, *, observer: Observer
    ) -> Iterator[JobResult | JobFailure]:
        """Run every job and yield each result or failure as it is known.

        A job that fails does not keep the others from running.

        Args:
            jobs: what to run, in the order of preference.
            folders: results and data.
            runtime: device and precision.
            observer: receives progress, and is polled for a stop request.

        Raises:
            Interrupted: a stop was requested; everything done is saved.
        """


def numbered(jobs: Sequence[Job]) -> dict[str, int]:
    """Return the number of each job that is announced, counted from 1, by id; a count takes too little time."""
    return {job.id: number for number, job in enumerate((job for job in jobs if not isinstance(job, CountJob)), 1)}
