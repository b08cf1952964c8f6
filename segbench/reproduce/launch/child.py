"""The child's side of a job in a process of its own."""

import contextlib
import signal
import threading
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from segbench.core.errors import Interrupted
from segbench.core.progress import Count, Observer, Progress
from segbench.data.own_data import discover as own_data
from segbench.engine.runtime import Runtime
from segbench.reproduce.folders import Folders
from segbench.reproduce.job import Job
from segbench.reproduce.run import attempt

STOP = "stop"
HELD = (signal.SIGINT, signal.SIGTERM)
COUNT_SECONDS = 0.25  # between two messages of a counter


@dataclass(frozen=True)
class Noted:
    text: str


@dataclass(frozen=True)
class Announced:
    title: str
    number: int
    total: int


@dataclass(frozen=True)
class Counted:
    title: str
    unit: str
    done: int
    total: int | None


class Remote(Observer):
    """Observer in a child: passes everything on to the parent, and stops when the parent says so or has died."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._stopped = False

    def announce(self, title: str, number: int, total: int) -> None:
        self.send(Announced(title, number, total))

    def note(self, text: str) -> None:
        self.send(Noted(text))

    def report(self, progress: Progress) -> None:
        self.send(progress)

    def counter(self, title: str, unit: str) -> Count:
        last = 0.0

        def count(done: int, total: int | None) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= COUNT_SECONDS or done == total:
                last = now
                self.send(Counted(title, unit, done, total))

        return count

    def stop_requested(self) -> bool:
        self._stopped = self._stopped or self._connection.poll()  # a request, or the end of the parent
        return self._stopped

    def stop(self, _: int, __: types.FrameType | None) -> None:
        """Handle a signal: stop at the next safe point."""
        self._stopped = True

    def send(self, message: object) -> None:
        """Send a message; a parent that has died needs none."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.send(message)


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back: a child that starts meanwhile gets neither before it can handle them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """Let the signals through that the parent held back when it started this process."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def main(connection: Connection, job: Job, folders: Folders, runtime: Runtime, threads: int) -> None:
    """Run a job and send its result, its failure or its interruption to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to the children too; the parent decides
    observer = Remote(connection)
    signal.signal(signal.SIGTERM, observer.stop)
    release_signals()
    torch.set_num_threads(threads)
    own_data.discover(folders.data)
    try:
        observer.send(attempt(job, folders, runtime, observer=observer))
    except Interrupted as error:
        observer.send(error)
