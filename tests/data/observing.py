"""An observer that keeps what it is told, and that a test can make stop or do something at each count."""

from collections.abc import Callable
from dataclasses import dataclass, field

from segbench.core.progress import Count, Observer


@dataclass
class Seen(Observer):
    """Observer of a test.

    Attributes:
        on_count: called with (done, total) at each count.
        on_note: called with each note.
        stop: asked for a stop request.
        counts: (done, total) so far.
        notes: notes so far.
    """

    on_count: Callable[[int, int | None], None] = lambda done, total: None
    on_note: Callable[[str], None] = lambda text: None
    stop: Callable[[], bool] = lambda: False
    counts: list[tuple[int, int | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def counter(self, title: str, unit: str) -> Count:
        def count(done: int, total: int | None) -> None:
            self.counts.append((done, total))
            self.on_count(done, total)

        return count

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.on_note(text)

    def stop_requested(self) -> bool:
        return self.stop()
