"""Who is told while a data set is fetched and put together; the command line's ``Watcher`` is one."""

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[int, int | None], None]  # (done so far, in all if known)


class Listener(Protocol):
    """What work that takes a while tells of itself."""

    def announce(self, title: str, number: int, total: int) -> None:
        """One of several pieces of work begins."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def counter(self, title: str, unit: str) -> Progress:
        """Something that can be counted begins: gives the function to call with how far it is."""


class Silent:
    """Nobody listens."""

    def announce(self, title: str, number: int, total: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def counter(self, title: str, unit: str) -> Progress:
        return lambda done, total: None


SILENT = Silent()
