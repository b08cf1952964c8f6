"""Disk space: free bytes, checks before writing, and translation of disk errors."""

import errno
import shutil
from pathlib import Path

from .errors import RunFault

_FULL = (errno.ENOSPC, errno.EDQUOT)


def amount(count: int) -> str:
    """Format a number of bytes: ``11.2 GB``, ``3.1 MB``, ``700 B``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.99995 * scale:  # values that would round up to 1,000.0 of the smaller unit
            return f"{count / scale:,.1f} {unit}"
    return f"{count} B"


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that holds `folder`, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_room(folder: Path, need: int, *, what: str, next: str = "") -> None:
    """Raise if the disk of `folder` has fewer than `need` bytes free.

    Args:
        folder: target folder; need not exist yet.
        need: required number of bytes.
        what: subject of the error message.
        next: command that helps.

    Raises:
        RunFault: not enough space.
    """
    free = free_bytes(folder)
    if need > free:
        raise RunFault(f"{what} needs {amount(need)}, {folder} has {amount(free)} free.", next=next)


def disk_fault(error: OSError, folder: Path, *, kept: str, next: str = "") -> RunFault:
    """Return the RunFault for an OSError while writing to `folder`; `kept` is the clause that says what is not lost."""
    if error.errno in _FULL:
        return RunFault(f"The disk of {folder} is full; {kept}.", next=next)
    return RunFault(f"{error.filename or folder}: {error.strerror or error}; {kept}.", next=next)
