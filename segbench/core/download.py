"""Download of one file over HTTP: resumed where it stopped, verified, and never incomplete under its own name."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import filelock
import httpx

from .checksums import ChecksumMismatch, record_sha256, verify_checksums
from .disk import amount, disk_fault, require_room
from .errors import Busy, MissingFault
from .offline import offline
from .partial import PartialFile
from .progress import Count, ignore
from .response import SourceUnavailable
from .transfer import RetryPolicy, Transfer

__all__ = ["RetryPolicy", "fetch", "kept_bytes"]

_FIRST_ATTEMPTS = 2  # at an address that is not the last one
_POLICY = RetryPolicy()


def fetch(
    urls: Sequence[str],
    path: Path,
    *,
    checksums: Mapping[str, str] | None = None,
    client: httpx.Client | None = None,
    policy: RetryPolicy = _POLICY,
    room_bytes: int = 0,
    refusal: str = "",
    progress: Count = ignore,
    next: str = "",
) -> str:
    """Download a file to ``path`` and return its SHA-256.

    What has arrived is kept in ``path`` + ``.part`` and continued by range requests, also in a later call; from another
    address only if the published checksum proves that it is the same file. A file that is already at ``path`` is
    verified and not downloaded again. Its SHA-256 is written beside it (``.sha256``, in the form of ``sha256sum``);
    where none is published, later downloads are held to it.

    Args:
        urls: addresses of the file in the order in which they are tried; http or https, redirects are followed.
        path: of the file.
        checksums: published digests, as of ``verify_checksums``; all must hold.
        client: its cookies and headers are used, e.g. after a login.
        policy: retries and timeouts.
        room_bytes: room that must be left beside the file, e.g. to unpack it.
        refusal: explanation of an answer 401 or 403 or a web page: one sentence.
        progress: called with (bytes so far, bytes in all or None).
        next: the command that resumes this download.

    Raises:
        MissingFault: offline, refused by the server, cut off, or not the file of the checksums.
        RunFault: the disk is full or not writable.
        Busy: another process is downloading this very file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise Busy(f"Another process is downloading {path.name}.", next=next) from None
    known = checksums or {}
    try:
        if path.exists():
            try:
                return verify_checksums(path, known)
            except ChecksumMismatch as error:
                path.unlink()
                raise MissingFault(f"{error}: it was removed.", next=next) from None
        if switch := offline():
            raise MissingFault(
                f"{path.name} is not here and {switch} is set; on a connected machine: {urls[0]}", next=next
            )
        partial = PartialFile(path, known)
        with nullcontext(client) if client else httpx.Client(headers={"User-Agent": "segbench"}) as session:

            def complete(url: str, limited: RetryPolicy) -> str:
                def require(coming: int) -> None:
                    require_room(path.parent, coming + room_bytes, what=path.name, next=next)

                Transfer(session, url, partial, policy=limited, require_room=require, progress=progress).run()
                sha256 = verify_checksums(partial.file, known, path=path)
                record_sha256(path, sha256)
                partial.finish(path)
                return sha256

            return _first(urls, complete, partial, policy=policy, fixed=bool(known), refusal=refusal, next=next)
    except OSError as error:
        raise disk_fault(error, path.parent, kept="what was downloaded is kept", next=next) from error
    finally:
        lock.release()


def _first(
    urls: Sequence[str],
    complete: Callable[[str, RetryPolicy], str],
    partial: PartialFile,
    *,
    policy: RetryPolicy,
    fixed: bool,
    refusal: str,
    next: str,
) -> str:
    """Return what ``complete`` returns for the first address that has the file.

    Raises:
        MissingFault: none of them has it; a line each.
    """
    faults: list[str] = []
    unreachable = 0
    for number, url in enumerate(urls, 1):
        attempts = policy.attempts if number == len(urls) else min(policy.attempts, _FIRST_ATTEMPTS)
        try:
            return complete(url, replace(policy, attempts=attempts))
        except ChecksumMismatch as error:
            partial.clear()
            faults.append(f"{error}: it was removed.")
        except SourceUnavailable as error:
            faults.append(f"{error} {refusal}".strip() if error.kind == "refused" else str(error))
            unreachable += error.kind == "unreachable"
            if partial.resumable and not fixed:
                break  # without a checksum another address would have to begin anew
    if unreachable == len(faults):
        faults[-1] += " Is this machine online?"
    if partial.resumable:
        faults[-1] += f" The {amount(partial.size)} that were downloaded are kept."
    raise MissingFault(*faults, next=next)


def kept_bytes(path: Path, checksums: Mapping[str, str]) -> int:
    """Return how many bytes of a file a later call of ``fetch`` need not download again."""
    if path.exists():
        return path.stat().st_size
    partial = PartialFile(path, checksums)
    return partial.size if partial.resumable else 0
