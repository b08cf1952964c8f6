"""What the engine tells about its progress; who shows it decides how."""

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
        losses: mean of each named term since the last report (training).
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
    """Somebody who watches a run."""

    def report(self, progress: Progress) -> None:
        """Called a few times a second at most."""

    def note(self, text: str) -> None:
        """A line worth keeping: resumed, validated, saved."""


class Silent:
    """Watches and says nothing."""

    def report(self, progress: Progress) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def watching(observer: Observer, stop: Callable[[], bool]) -> Watch:
    """Somebody who watches a run, as one who watches images being prepared."""
    began: list[tuple[float, int]] = []

    def progress(done: int, total: int) -> None:
        now = time.perf_counter()
        if not began or done <= began[0][1]:  # the first image of a split, or of what a kill left of it
            began[:] = [(now, done)]
        speed = (done - began[0][1]) / max(now - began[0][0], 1e-9)
        left = (total - done) / speed if speed else None
        observer.report(Progress("prepare", done, total, images_per_second=speed, seconds_left=left))

    return Watch(progress, observer.note, stop)
