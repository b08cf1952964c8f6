"""Progress reports of the engine."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from segbench.data.watch import Watch


@dataclass(frozen=True)
class Progress:
    """State of a training or an evaluation.

    Attributes:
        phase: ``prepare``, ``train``, ``gather``, ``validate`` or ``evaluate``.
        done: steps or images done.
        total: steps or images in all.
        losses: mean of each loss since the last report (training).
        lr: learning rate (training).
        images_per_second: over the time since the last report.
        memory_bytes: peak so far.
        seconds_left: estimate for this phase.
        miou: last validation mIoU in percent, None before the first.
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


class Observer(Protocol):
    """Receiver of progress reports."""

    def report(self, progress: Progress) -> None:
        """Receive the progress, at most a few times a second."""

    def note(self, text: str) -> None:
        """Receive a line worth keeping, such as a validation score."""


class Silent:
    """Observer that ignores everything."""

    def report(self, progress: Progress) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def watching(observer: Observer, stop: Callable[[], bool]) -> Watch:
    """Return an adapter that reports the preparation of images to an observer."""
    began: list[tuple[float, int]] = []

    def progress(done: int, total: int) -> None:
        now = time.perf_counter()
        if not began or done <= began[0][1]:  # the first image of a split, or of the rest that a kill left
            began[:] = [(now, done)]
        speed = (done - began[0][1]) / max(now - began[0][0], 1e-9)
        left = (total - done) / speed if speed else None
        observer.report(Progress("prepare", done, total, images_per_second=speed, seconds_left=left))

    return Watch(progress, observer.note, stop)
