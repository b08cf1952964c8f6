"""Ctrl-C, or SIGTERM of a scheduler: the first saves and stops, the second stops at once."""

import os
import signal
import sys
import types
from collections.abc import Callable

NOTICE = "\nStopping after this step, and saving. Ctrl-C again stops at once.\n"


class Stopper:
    """Signal handler as a context manager: the first signal sets a flag that the engine polls, the second raises."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Callable[..., object] | int | None] = {}

    def __enter__(self) -> "Stopper":
        for name in (signal.SIGINT, signal.SIGTERM):
            self._before[name] = signal.signal(name, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for name, before in self._before.items():
            signal.signal(name, signal.SIG_DFL if before is None else before)

    def __call__(self) -> bool:
        return self._asked

    def _handle(self, _: int, __: types.FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        # A signal may come in the middle of a print: the stream's own buffer must not be touched here.
        os.write(sys.stderr.fileno(), NOTICE.encode())
