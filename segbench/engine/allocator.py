"""Reuse of freed memory on a CPU."""

import ctypes
import os
import platform

# Of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
_OWN_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES")


def keep_large_blocks() -> None:
    """Let glibc reuse freed blocks instead of returning them to the system.

    By default it returns every large block, and the system clears the next one page by page before a tensor is written
    to it: a fifth of a step and more (benchmarks/allocator.py). The price is fragmented memory. Other allocators and
    users' own settings of glibc are respected.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith(_OWN_SETTINGS) for name in os.environ):
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
