"""Progress: a live block on a terminal, a plain line every 30 seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from segbench.core.progress import Count, Observer, Progress

from .common import console, duration, memory

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

PLAIN_SECONDS = 30.0
GONE_SECONDS = 30.0  # a run that has not reported for so long has ended


class Watcher(Observer):
    """Observer that shows progress on stderr; use as a context manager.

    Args:
        quiet: show nothing.
        stop: returns True once the user asked to stop.
        expected: estimated seconds of each item that will be announced.
    """

    def __init__(
        self, *, quiet: bool = False, stop: Callable[[], bool] = lambda: False, expected: Sequence[float] = ()
    ) -> None:
        self.quiet = quiet
        self._stop = stop
        self._expected = expected
        self._later = 0.0
        self._live: Live | None = None
        self._last: dict[str, float] = {}  # time of the last plain line, by job
        self._bars: dict[str, tuple[float, Progress]] = {}  # last report with its time, by job
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

    def announce(self, title: str, number: int, total: int) -> None:
        """Begin item ``number`` of ``total``."""
        self._later = sum(self._expected[number:])
        self._last.pop("", None)
        if not self.quiet:
            self._say(f"{number} of {total}  {title}")

    def note(self, text: str) -> None:
        """Print a line that stays."""
        if not self.quiet:
            self._say(f"  {text}")

    def report(self, progress: Progress) -> None:
        """Show the state of a run, or of each of several that go on at once."""
        if self.quiet:
            return
        now = time.monotonic()
        if self._live is not None:
            self._bars[progress.job] = (now, progress)
            self._bars = {job: entry for job, entry in self._bars.items() if now - entry[0] < GONE_SECONDS}
            bars = [each for _, each in self._bars.values() if (each.job == "") == (progress.job == "")]
            self._live.update(_bars([(each.done, each.total, self._line(each)) for each in bars]))
        elif self._is_due(progress.job, now):
            self._say(f"  {self._line(progress)}")

    def stop_requested(self) -> bool:
        """Return True once the user asked to stop."""
        return self._stop()

    def counter(self, title: str, unit: str) -> Count:
        """Begin to count something, such as bytes, and return the function to call as it goes on."""
        scale, name = (1e6, "MB") if unit == "bytes" else (1, unit)
        began: list[float] = []

        def report(done: int, total: int | None) -> None:
            now = time.monotonic()
            if not began:
                began.append(now)
                self._last[""] = now  # no line for what takes a moment
            of = f" of {total / scale:,.0f}" if total else ""
            line = f"{done / scale:,.0f}{of} {name}"
            if now > began[0]:
                line += f"  {done / scale / (now - began[0]):,.1f} {name}/s"
            if self._live is not None:
                self._live.update(_bars([(done, total or max(done, 1), f"{title}: {line}")]))
            elif not self.quiet and self._is_due("", now):
                self._say(f"{title}: {line}")

        return report

    def _is_due(self, job: str, now: float) -> bool:
        """Return True if a plain line is due, and note that it is printed now."""
        if now - self._last.get(job, -PLAIN_SECONDS) < PLAIN_SECONDS:
            return False
        self._last[job] = now
        return True

    def _say(self, text: str) -> None:
        if self._live is None:
            typer.echo(text, err=True)  # never wrapped: one line a message
            return
        from rich.text import Text

        self._console.print(Text(text))

    def _line(self, progress: Progress) -> str:
        unit = "step" if progress.phase == "train" else "image"
        job = f"{progress.job}  " if progress.job else ""
        parts = [f"{job}{progress.phase}: {unit} {progress.done:,} of {progress.total:,}"]
        parts += [f"{name} {value:.3f}" for name, value in progress.losses.items()]
        if progress.lr is not None:
            parts.append(f"lr {progress.lr:.2e}")
        parts.append(f"{progress.images_per_second:.1f} images/s")
        if progress.memory_bytes:
            parts.append(memory(progress.memory_bytes))
        if progress.miou is not None:
            parts.append(f"val mIoU {progress.miou:.1f}")
        if progress.seconds_left is not None:
            alone = self._later and not progress.job
            rest = f", {duration(progress.seconds_left + self._later)} in all" if alone else ""
            parts.append(f"{duration(progress.seconds_left)} left{rest}")
        return "  ".join(parts)


def _bars(bars: Sequence[tuple[int, int, str]]) -> "Table":
    """Return a line per (done, total, text), each with its bar."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    for done, total, line in bars:
        grid.add_row(ProgressBar(total=total, completed=done, width=30), Text(line))
    return grid
