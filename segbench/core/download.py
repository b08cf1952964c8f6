"""Fetch one file over HTTP: goes on where it stopped, checks what it got, never leaves half a file under its name."""

import errno
import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import httpx

from .errors import MissingFault, RunFault, SegbenchError

Progress = Callable[[int, int | None], None]  # (bytes so far, bytes in all if known)

_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}


class _Again(Exception):
    """This attempt failed in a way that another one may mend."""


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    attempts: int = 5,
    backoff_seconds: float = 1.0,
    timeout_seconds: float = 30.0,
    next: str = "",
) -> str:
    """Download ``url`` to ``path`` and return the SHA-256 of the file.

    What has arrived is kept in ``path`` + ``.part`` and continued by a range request, also in a later call.
    A file that is already at ``path`` is checked and not fetched again. The checksum is written beside the file
    (``.sha256``, in the form of ``sha256sum``); where none is published, the one seen first is held to later.

    Args:
        url: http or https; redirects are followed.
        path: where the file shall lie.
        sha256: published checksum.
        progress: called after each piece.
        attempts: tries in a row without a new byte before giving up.
        backoff_seconds: wait after the first failed try, doubled with each further one.
        timeout_seconds: longest silence of the server.
        next: the command that goes on with this download.

    Raises:
        MissingFault: offline, refused by the server, cut off, or another checksum than it should be.
        RunFault: no room on the disk, or another process is fetching this very file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(_beside(path, ".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunFault(f"Another process is downloading {path.name}.", next=next) from None
    try:
        if not path.exists():
            _download(url, path, progress, attempts, backoff_seconds, timeout_seconds, next)
            seen = _checked(_beside(path, ".part"), path, sha256, next)
            _beside(path, ".sha256").write_text(f"{seen}  {path.name}\n", encoding="utf-8")
            _beside(path, ".part").replace(path)
            _beside(path, ".part.tag").unlink(missing_ok=True)
            return seen
        return _checked(path, path, sha256, next)
    except OSError as error:
        raise _disk_fault(error, path, next) from error
    finally:
        lock.release()


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _checked(file: Path, path: Path, sha256: str | None, next: str) -> str:
    """Hash ``file``, which is or will be ``path``; one with a wrong checksum is removed."""
    record = _beside(path, ".sha256")
    published = sha256 is not None
    if sha256 is None and record.exists():
        sha256 = record.read_text(encoding="utf-8").split()[0]
    seen = file_sha256(file)
    if sha256 is not None and seen != sha256.lower():
        file.unlink()
        origin = "published" if published else f"recorded in {record} (remove that to accept another file)"
        raise MissingFault(
            f"{path.name} has SHA-256 {seen}, the one {origin} is {sha256}: the file was removed.", next=next
        )
    return seen


def _download(
    url: str, path: Path, progress: Progress | None, attempts: int, backoff: float, timeout: float, next: str
) -> None:
    """Complete ``path`` + ``.part``."""
    part = _beside(path, ".part")
    failures = 0
    limits = httpx.Timeout(timeout)
    with httpx.Client(follow_redirects=True, timeout=limits, headers={"Accept-Encoding": "identity"}) as client:
        while True:
            before = _size(part)
            try:
                _attempt(client, url, path, progress, next)
                return
            except (_Again, httpx.TransportError) as error:
                failures = 1 if _size(part) > before else failures + 1
                if failures >= attempts:
                    raise _gave_up(error, url, path, next) from error
                time.sleep(backoff * 2 ** (failures - 1))
            except (httpx.InvalidURL, httpx.HTTPError) as error:
                raise MissingFault(f"{url} cannot be fetched: {error}", next=next) from error


def _attempt(client: httpx.Client, url: str, path: Path, progress: Progress | None, next: str) -> None:
    part, tag = _beside(path, ".part"), _beside(path, ".part.tag")
    have = _size(part)
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.exists():  # asks for the whole file if it changed in the meantime
            headers["If-Range"] = tag.read_text(encoding="utf-8")
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if response.headers.get("Content-Range", "") == f"bytes */{have}":
                return  # everything was there already
            part.unlink()
            raise _Again("the server holds another file than before")
        if response.status_code in _RETRY_STATUS:
            raise _Again(f"the server answers {response.status_code}")
        if response.is_error:
            raise MissingFault(f"{url} answers {response.status_code} {response.reason_phrase}.", next=next)
        goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
        if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise _Again("the server sent another range than was asked for")
        have = have if goes_on else 0
        _remember_version(tag, response)
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        free = shutil.disk_usage(path.parent).free
        if length is not None and int(length) > free:
            raise RunFault(f"{path.name} needs {_mb(int(length))} more, {path.parent} has {_mb(free)} free.", next=next)
        with part.open("ab" if goes_on else "wb") as stream:
            for chunk in response.iter_raw():  # a larger piece would be lost when the connection drops
                stream.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(have, total)
        if total is not None and have != total:
            raise _Again("the connection ended early")


def _remember_version(tag: Path, response: httpx.Response) -> None:
    """Keep what identifies this version of the file; weak tags cannot guard a range."""
    version = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if version and not version.startswith("W/"):
        tag.write_text(version, encoding="utf-8")
    else:
        tag.unlink(missing_ok=True)


def _gave_up(error: Exception, url: str, path: Path, next: str) -> SegbenchError:
    have = _size(_beside(path, ".part"))
    kept = f" {_mb(have)} are kept, the next try goes on from there." if have else ""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return MissingFault(f"{url} cannot be reached ({error}). Is this machine online?{kept}", next=next)
    return MissingFault(f"{path.name} was cut off: {error}.{kept}", next=next)


def _disk_fault(error: OSError, path: Path, next: str) -> SegbenchError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunFault(f"The disk of {path.parent} is full; what was downloaded is kept.", next=next)
    return RunFault(f"{error.filename or path} cannot be written: {error.strerror}.", next=next)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
