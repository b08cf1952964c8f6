"""Waiting for events: tests never wait for a time, so that a machine under load only makes them slower."""

import re
import subprocess
import threading
import time
from collections.abc import Callable

PATIENCE = 300.0  # seconds after which a test that still waits hangs; no test passes or fails by its value


def wait_for(condition: Callable[[], object], *, process: subprocess.Popen[str] | None = None) -> None:
    """Return as soon as `condition` holds.

    Raises:
        AssertionError: `process` ended before, or the condition never holds.
    """
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None or condition(), "the process ended before it"
        assert time.monotonic() < limit, "it never came"
        time.sleep(0.005)


def until(process: subprocess.Popen[str], pattern: str) -> str:
    """Read the standard error of a process up to the first line that matches, and return that line.

    Raises:
        AssertionError: it ended, or was killed as hanging, before such a line.
    """
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    seen = []
    assert process.stderr is not None
    try:
        for line in process.stderr:
            seen.append(line)
            if re.search(pattern, line):
                return line
    finally:
        guard.cancel()
    raise AssertionError("".join(seen))
