"""Files that are either whole or not there: written beside, flushed to disk, then renamed."""

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import RunFault


def _umask() -> int:
    """The process's umask; it can only be read by setting it, so once, before there are threads."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what a disk can do to a write into one clear line.

    Raises:
        RunFault: no space, no permission, or a read-only file system.
    """
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the quota is used up",
            errno.EACCES: "no permission to write there",
            errno.EPERM: "no permission to write there",
            errno.EROFS: "the file system is read-only",
            errno.ENOTDIR: "a part of the path is no folder",
        }
        if error.errno not in reasons:
            raise
        raise RunFault(
            f"{path} cannot be written: {reasons[error.errno]}. What was computed before is kept.",
            next="free some space, or give another folder with --out, and type the same command again",
        ) from error


def write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a file through ``fill`` so that a reader sees the old content or the new, never a part.

    Raises:
        RunFault: the disk is full or not writable; the old content stays.
    """
    with guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o666 & ~_UMASK)  # mkstemp lets nobody else read; a shared results folder needs it
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """Atomically write bytes."""
    write(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """Atomically write UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Atomically write plain data as indented JSON; NaN is refused, as it is no JSON."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
