"""Progress of long work: training, validation, download, preparation, verification. Free of torch."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Count = Callable[[int, int | None], None]  # (done so far, total; None if unknown)


@dataclass(frozen=True)
class Progress:
    """State of one phase of a run.

    Attributes:
        phase: ``prepare``, ``train``, ``gather``, ``validate``, ``evaluate`` or ``export``.
        done: steps or images done.
        total: steps or images in total.
        losses: mean of each named loss since the last report (training).
        lr: learning rate (training).
        images_per_second: rate since the last report.
        memory_bytes: peak so far.
        seconds_left: estimate for this phase.
        miou: last validation mIoU in percent, None before the first.
        job: title of the job, if several run at once.
    """

    phase: str
    done: int
    total: int
    losses: dict[str, float] = field(default_factory=dict)
    lr: float | None = None
    images_per_second: float = 0.0
    memory_bytes: int = 0
    seconds_left: float | None = None
    miou: float | None = None
    job: str = ""


class Observer:
    """Receiver of progress and source of stop requests; by itself it shows nothing and never stops anything.

    Override what matters. Methods may be called from several threads.
    """

    def announce(self, title: str, number: int, total: int) -> None:
        """Begin item ``number`` of ``total``, counted from 1."""

    def note(self, text: str) -> None:
        """Keep a line: resumed, validated, saved."""

    def report(self, progress: Progress) -> None:
        """Show the state of a run; called a few times a second at most."""

    def counter(self, title: str, unit: str) -> Count:
        """Begin something that can be counted in ``unit`` and return the function to call as it goes on."""
        return ignore

    def stop_requested(self) -> bool:
        """Return True to end the work at the next safe point, with what was done kept."""
        return False

    def phase(self, name: str) -> "Observer":
        """Return an observer that reports whatever is counted as phase ``name`` of a run, in images."""
        return _Phase(self, name)


def ignore(done: int, total: int | None) -> None:
    """Do nothing: the counter of a silent observer."""


SILENT = Observer()


class _Phase(Observer):
    """Counters turned into reports of a phase, with their rate and the time left."""

    def __init__(self, observer: Observer, name: str) -> None:
        self._observer, self._name = observer, name

    def announce(self, title: str, number: int, total: int) -> None:
        self._observer.announce(title, number, total)

    def note(self, text: str) -> None:
        self._observer.note(text)

    def report(self, progress: Progress) -> None:
        self._observer.report(progress)

    def stop_requested(self) -> bool:
        return self._observer.stop_requested()

    def counter(self, title: str, unit: str) -> Count:
        began: list[tuple[float, int]] = []

        def count(done: int, total: int | None) -> None:
            now = time.perf_counter()
            if not began or done <= began[0][1]:  # the first image, or the first after those of an earlier try
                began[:] = [(now, done)]
            rate = (done - began[0][1]) / max(now - began[0][0], 1e-9)
            left = (total - done) / rate if rate and total is not None else None
            self._observer.report(Progress(self._name, done, total or done, images_per_second=rate, seconds_left=left))

        return count
