"""Published files that segbench needs and may not pass on: downloaded once into a cache folder, verified on every use.

Lists of images, pretrained weights and checkpoints are such files.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from . import atomic
from .checksums import ChecksumMismatch, verify_checksums
from .download import RetryPolicy, fetch
from .errors import Busy, MissingFault
from .progress import SILENT, Observer

_POLICY = RetryPolicy()


@dataclass(frozen=True)
class PublishedFile:
    """A file that its publisher offers for download.

    Attributes:
        path: relative to the folder that it is kept in; usually its name alone.
        urls: addresses in the order in which they are tried; http or https.
        checksums: published digests in hexadecimal by algorithm (``md5``, ``sha1``, ``sha256``), complete or their
            first eight digits and more, as torch.hub has in its file names. Unless one is complete, the SHA-256 of the
            first download is kept beside the file, and later ones are held to it.
        size_bytes: published size for announcements; None if unknown.
    """

    path: str
    urls: tuple[str, ...]
    checksums: dict[str, str] = field(default_factory=dict)
    size_bytes: int | None = None


def fetch_published(
    file: PublishedFile,
    folder: Path,
    *,
    policy: RetryPolicy = _POLICY,
    observer: Observer = SILENT,
    wait_seconds: float = 3600.0,
    next: str = "",
) -> Path:
    """Return the path of a published file in a folder, downloaded if it is not there.

    The folder is not written to if the file is there. Several processes may call this at once: one of them downloads,
    the others wait for it. A download that broke off is resumed, see ``core.download.fetch``.

    Args:
        file: the file.
        folder: where it is kept; need not exist.
        policy: retries and timeouts of the download.
        observer: told that another process is at work, and the bytes of a download.
        wait_seconds: longest wait for another process that downloads the same file.
        next: the command that gets the file.

    Raises:
        MissingFault: it is not there and cannot be downloaded, or it is another file and was removed. The last line
            says where a copy brought by hand belongs.
        RunFault: the disk is full or not writable.
        Busy: another process was still downloading it after ``wait_seconds``.
    """
    path = folder / file.path
    if path.is_file():
        with suppress(ChecksumMismatch):
            verify_checksums(path, file.checksums)
            return path
    with _turn(path, observer, wait_seconds, next):
        count = observer.counter(f"{path.name}: download", "bytes")
        try:
            fetch(file.urls, path, checksums=file.checksums, policy=policy, progress=count, next=next)
        except MissingFault as error:
            raise MissingFault(*error.faults, f"A copy brought by hand belongs at {path}.", next=next) from error
    return path


@contextmanager
def _turn(path: Path, observer: Observer, wait_seconds: float, next: str) -> Iterator[None]:
    """Keep other processes from downloading the same file; wait while one of them does."""
    lock = filelock.FileLock(f"{path}.wait")
    with atomic.guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            observer.note(f"Another process is downloading {path.name}; waiting for it.")
            try:
                lock.acquire(timeout=wait_seconds)
            except filelock.Timeout:
                fault = f"Another process has been downloading {path} for {wait_seconds:,.0f} seconds."
                raise Busy(fault, next=next) from None
    try:
        yield
    finally:
        lock.release()
