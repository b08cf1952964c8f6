"""Progress: one live block on a terminal, a plain line every 30 seconds elsewhere."""

import sys
import time
from typing import TYPE_CHECKING

from .common import console, duration

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

    from segbench.engine.progress import Progress

PLAIN_SECONDS = 30.0


class Watcher:
    """Shows one run after the other; use as a context manager.

    Args:
        quiet: shows nothing but notes of faults.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.title = ""
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

    def announce(self, title: str, number: int, total: int) -> None:
        """A new run begins."""
        self.title = f"{number} of {total}  {title}"
        self._last = -PLAIN_SECONDS
        if self._live is None and not self.quiet:
            self._say(self.title)

    def note(self, text: str) -> None:
        """A line that stays."""
        if not self.quiet:
            self._say(f"  {text}")

    def report(self, progress: "Progress") -> None:
        """The current state."""
        if self.quiet:
            return
        if self._live is not None:
            self._live.update(self._group(progress.done, progress.total, _line(progress)))
            return
        now = time.monotonic()
        if now - self._last >= PLAIN_SECONDS:
            self._last = now
            self._say(f"  {_line(progress)}")

    def count(self, done: int, total: int | None, unit: str, rate: float) -> None:
        """Progress of something that is no run."""
        if self.quiet:
            return
        scale, name = (1e6, "MB") if unit == "bytes" else (1, unit)
        of = f" of {total / scale:,.0f}" if total else ""
        line = f"{done / scale:,.0f}{of} {name}  {rate / scale:,.1f} {name}/s"
        if self._live is not None:
            self._live.update(self._group(done, total or max(done, 1), line))
            return
        now = time.monotonic()
        if now - self._last >= PLAIN_SECONDS:
            self._last = now
            self._say(f"{self.title}: {line}")

    def _say(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(text))

    def _group(self, done: int, total: int, line: str) -> "Group":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        return Group(Text(self.title, style="bold"), ProgressBar(total=total, completed=done, width=40), Text(line))


def _line(progress: "Progress") -> str:
    unit = "step" if progress.phase == "train" else "image"
    parts = [f"{progress.phase}: {unit} {progress.done:,} of {progress.total:,}"]
    parts += [f"{name} {value:.3f}" for name, value in progress.losses.items()]
    if progress.lr is not None:
        parts.append(f"lr {progress.lr:.2e}")
    parts.append(f"{progress.images_per_second:.1f} images/s")
    if progress.memory_bytes:
        parts.append(f"{progress.memory_bytes / 1e9:.1f} GB")
    if progress.miou is not None:
        parts.append(f"val mIoU {progress.miou:.1f}")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return "  ".join(parts)


class Counter:
    """One bar for a download or a verification; a line every 30 seconds where there is no terminal."""

    def __init__(self, title: str, *, unit: str, quiet: bool = False) -> None:
        self._watcher = Watcher(quiet=quiet)
        self._title, self._unit = title, unit
        self._began = time.monotonic()

    def __enter__(self) -> "Counter":
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.__exit__()

    def report(self, done: int, total: int | None) -> None:
        """``done`` of ``total``; the total of a download may be unknown."""
        if self._watcher.title != self._title:
            self._watcher.title = self._title
            self._watcher.__enter__()
        rate = done / max(1e-6, time.monotonic() - self._began)
        self._watcher.count(done, total, self._unit, rate)
