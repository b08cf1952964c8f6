"""Progress: one live block on a terminal, a plain line every 30 seconds elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from segbench.core.progress import Count, Observer, Progress

from .common import console, duration, memory

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

PLAIN_SECONDS = 30.0


class Watcher(Observer):
    """Observer that shows progress on stderr; use as a context manager.

    Args:
        quiet: show nothing.
        stop: returns True once the user asked to stop.
    """

    def __init__(self, *, quiet: bool = False, stop: Callable[[], bool] = lambda: False) -> None:
        self.quiet = quiet
        self._stop = stop
        self._later = 0.0
        self._live: Live | None = None
        self._last = -PLAIN_SECONDS
        self._console = console(err=True)

    def __enter__(self) -> "Watcher":
        if not self.quiet and sys.stderr.isatty() and not self._console.is_dumb_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def announce(self, title: str, number: int, total: int, later_seconds: float = 0.0) -> None:
        """A new run begins; the ones after it will take about ``later_seconds``."""
        self._later = later_seconds
        self._last = -PLAIN_SECONDS
        if not self.quiet:
            self._say(f"{number} of {total}  {title}")

    def note(self, text: str) -> None:
        """A line that stays."""
        if not self.quiet:
            self._say(f"  {text}")

    def report(self, progress: Progress) -> None:
        """The current state."""
        if self.quiet:
            return
        if self._live is not None:
            self._live.update(self._bar(progress.done, progress.total, self._line(progress)))
            return
        now = time.monotonic()
        if now - self._last >= PLAIN_SECONDS:
            self._last = now
            self._say(f"  {self._line(progress)}")

    def stop_requested(self) -> bool:
        """Return True once the user asked to stop."""
        return self._stop()

    def counter(self, title: str, unit: str) -> Count:
        """Progress of something that is no run: a function of how many are done, and how many there are if known."""
        scale, name = (1e6, "MB") if unit == "bytes" else (1, unit)
        began: list[float] = []

        def report(done: int, total: int | None) -> None:
            now = time.monotonic()
            if not began:
                began.append(now)
                self._last = now  # what takes less than a moment needs no line
            of = f" of {total / scale:,.0f}" if total else ""
            line = f"{done / scale:,.0f}{of} {name}"
            if now > began[0]:
                line += f"  {done / scale / (now - began[0]):,.1f} {name}/s"
            if self._live is not None:
                self._live.update(self._bar(done, total or max(done, 1), f"{title}: {line}"))
            elif not self.quiet and now - self._last >= PLAIN_SECONDS:
                self._last = now
                self._say(f"{title}: {line}")

        return report

    def _say(self, text: str) -> None:
        if self._live is None:
            typer.echo(text, err=True)  # never wrapped: one line a message
            return
        from rich.text import Text

        self._console.print(Text(text))

    def _line(self, progress: Progress) -> str:
        unit = "step" if progress.phase == "train" else "image"
        parts = [f"{progress.phase}: {unit} {progress.done:,} of {progress.total:,}"]
        parts += [f"{name} {value:.3f}" for name, value in progress.losses.items()]
        if progress.lr is not None:
            parts.append(f"lr {progress.lr:.2e}")
        parts.append(f"{progress.images_per_second:.1f} images/s")
        if progress.memory_bytes:
            parts.append(memory(progress.memory_bytes))
        if progress.miou is not None:
            parts.append(f"val mIoU {progress.miou:.1f}")
        if progress.seconds_left is not None:
            rest = f", {duration(progress.seconds_left + self._later)} in all" if self._later else ""
            parts.append(f"{duration(progress.seconds_left)} left{rest}")
        return "  ".join(parts)

    def _bar(self, done: int, total: int, line: str) -> "Table":
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        grid.add_row(ProgressBar(total=total, completed=done, width=30), Text(line))
        return grid
