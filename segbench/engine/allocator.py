"""Memory of a CPU between two uses."""

import ctypes
import os
import platform

# Of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
_OWN_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES")


def keep_large_blocks() -> None:
    """Let glibc keep what is freed for what is wanted next.

    By default it gives every large block back to the system, which has to clear the next one page by page before a
    tensor is written to it: a fifth of a step and more (benchmarks/allocator.py). The price is memory that lies between
    blocks in use. Another allocator, and whoever has told glibc something else, are left alone.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith(_OWN_SETTINGS) for name in os.environ):
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
