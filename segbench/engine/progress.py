"""What the engine tells about its progress; who shows it decides how."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """State of a training or an evaluation.

    Attributes:
        phase: ``train``, ``validate`` or ``evaluate``.
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
