"""Room on disks: how much there is, how much is needed, and what a disk's refusal means."""

import errno
import shutil
from pathlib import Path

from .errors import RunFault

_FULL = (errno.ENOSPC, errno.EDQUOT)


def amount(count: int) -> str:
    """``11.2 GB``, ``3.1 MB``, ``700 B``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.99995 * scale:  # what would be rounded up to 1,000.0
            return f"{count / scale:,.1f} {unit}"
    return f"{count} B"


def free_bytes(folder: Path) -> int:
    """Room where ``folder`` lies or will lie; it need not exist."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_room(folder: Path, need: int, *, what: str, next: str = "") -> None:
    """Say before the work starts that a disk is too small for it.

    Args:
        folder: where the bytes shall go.
        need: number of bytes.
        what: what needs them, as the sentence's subject.
        next: the command that helps.

    Raises:
        RunFault: fewer bytes are free.
    """
    free = free_bytes(folder)
    if need > free:
        raise RunFault(f"{what} needs {amount(need)}, {folder} has {amount(free)} free.", next=next)


def disk_fault(error: OSError, folder: Path, *, kept: str, next: str = "") -> RunFault:
    """The fault that an ``OSError`` of a write into ``folder`` stands for; ``kept`` says what is not lost."""
    if error.errno in _FULL:
        return RunFault(f"The disk of {folder} is full; {kept}.", next=next)
    return RunFault(f"{error.filename or folder}: {error.strerror or error}; {kept}.", next=next)
