"""Atomic writes: to a temporary file beside the target, flushed to disk, then renamed."""

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
    """Return the umask. Reading it means setting it, so this runs once, at import, before there are threads."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Translate an OSError while writing `path` into a RunFault.

    Raises:
        RunFault: no space, no permission, a read-only file system, or a file where a folder is expected.
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
            errno.ENOTDIR: "something on its path is not a folder",
        }
        if error.errno not in reasons:
            raise
        raise RunFault(
            f"{path} cannot be written: {reasons[error.errno]}. What was computed before is kept.",
            next="free some space, or give another folder with --out, and type the same command again",
        ) from error


def write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a file atomically: readers see either the old content or the new.

    Args:
        path: file to write; missing parent folders are created.
        fill: writes the content to the binary file that it is called with.

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
            Path(name).chmod(
                0o666 & ~_UMASK
            )  # mkstemp creates private files; a shared results folder needs readable ones
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    write(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Write plain data atomically as indented JSON.

    Raises:
        ValueError: `data` holds NaN or Inf, which JSON does not have.
    """
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
