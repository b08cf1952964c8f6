"""What is asked of glibc; each time in a process of its own, as it holds for a whole process."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

# Page faults of large tensors that come and go, once there is enough memory for them to find a place in.
PROGRAM = """
import resource, torch
from segbench.engine.runtime import Runtime

def measure():
    for number in range(30):
        if number == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**24)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

measure()
for device in {devices!r}:
    Runtime(device=device).apply()
    measure()
"""
PAGES = 10 * 2**26 // os.sysconf("SC_PAGE_SIZE")


def faults(*devices: str, **environment: str) -> list[int]:
    """Return the page faults at first, and after the runtime of each device has been applied."""
    # No huge pages, which come with few faults, and nothing of this process's settings.
    own = ("MALLOC_", "GLIBC_", "THP_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(devices=devices)],
        env=inherited | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(line) for line in done.stdout.split()]


def test_memory_that_was_freed_is_used_again_on_a_cpu_alone() -> None:
    free, elsewhere, applied = faults("meta", "cpu")
    assert abs(elsewhere - free) < PAGES / 5
    if free < PAGES / 2:
        pytest.skip("this system gives whole huge pages")
    assert applied < PAGES / 5


def test_whoever_has_told_glibc_something_is_left_alone() -> None:
    free, applied = faults("cpu", MALLOC_ARENA_MAX="2")
    assert abs(applied - free) < PAGES / 5
