"""Fetch one file over HTTP: goes on where it stopped, checks what it got, never leaves half a file under its name."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import filelock
import httpx

from .answer import Unusable
from .disk import amount, disk_fault, require_room
from .errors import Busy, MissingFault
from .offline import offline
from .parts import Partial
from .transfer import Manners, Progress, Transfer

__all__ = ["Manners", "Progress", "fetch", "file_digests", "forget", "kept_bytes"]

_FIRST_ATTEMPTS = 2  # at an address that is not the last one
_MANNERS = Manners()
_NAMES = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}


class _WrongSum(Exception):
    """The file is another one than it should be."""


def fetch(
    urls: Sequence[str],
    path: Path,
    *,
    checksums: Mapping[str, str] | None = None,
    client: httpx.Client | None = None,
    manners: Manners = _MANNERS,
    room_bytes: int = 0,
    refusal: str = "",
    progress: Progress | None = None,
    next: str = "",
) -> str:
    """Download a file to ``path`` and return its SHA-256.

    What has arrived is kept in ``path`` + ``.part`` and continued by range requests, also in a later call; at another
    address only if the published checksum proves that it is the same file. A file that is already at ``path`` is
    checked and not fetched again. Its SHA-256 is written beside it (``.sha256``, in the form of ``sha256sum``); where
    none is published, the one seen first is held to later.

    Args:
        urls: where it lies, in the order in which they are tried; http or https, redirects are followed.
        path: where the file shall lie.
        checksums: published digests in hexadecimal by algorithm (``md5``, ``sha1``, ``sha256``); all must hold.
        client: whose cookies and headers are used, e.g. after a login.
        manners: how servers are asked.
        room_bytes: room that must be left beside the file, e.g. to unpack it.
        refusal: what it means if a server answers 401, 403 or a web page: one sentence.
        progress: called after each piece with (bytes so far, bytes in all or None), perhaps from another thread.
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
        raise Busy(f"Another process is downloading {path.name}.", next=next) from None
    known = {kind: value.lower() for kind, value in (checksums or {}).items()}
    try:
        if path.exists():
            try:
                return _prove(path, path, known)
            except _WrongSum as error:
                path.unlink()
                raise MissingFault(str(error), next=next) from None
        if switch := offline():
            raise MissingFault(
                f"{path.name} is not here and {switch} is set; on a connected machine: {urls[0]}", next=next
            )
        with nullcontext(client) if client else httpx.Client(headers={"User-Agent": "segbench"}) as asking:
            return _fetch(asking, list(urls), path, known, manners, room_bytes, refusal, progress, next)
    except OSError as error:
        raise disk_fault(error, path.parent, kept="what was downloaded is kept", next=next) from error
    finally:
        lock.release()


def file_digests(path: Path, kinds: Iterable[str], *, progress: Progress | None = None) -> dict[str, str]:
    """Hexadecimal digests of a file by algorithm, in one reading; ``progress`` as in ``fetch``."""
    sums = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    done, total = 0, path.stat().st_size
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            for each in sums.values():
                each.update(piece)
            done += len(piece)
            if progress is not None:
                progress(done, total)
    return {kind: each.hexdigest() for kind, each in sums.items()}


def forget(path: Path) -> None:
    """Remove a downloaded file and the checksum that later ones would be held to."""
    _beside(path, ".sha256").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def kept_bytes(path: Path, checksums: Mapping[str, str]) -> int:
    """How much there is of a file that shall lie at ``path``: of what a later call need not fetch again."""
    if path.exists():
        return path.stat().st_size
    partial = Partial(path, checksums)
    return partial.have if partial.resumable else 0


def _fetch(
    client: httpx.Client,
    urls: list[str],
    path: Path,
    known: dict[str, str],
    manners: Manners,
    room_bytes: int,
    refusal: str,
    progress: Progress | None,
    next: str,
) -> str:
    """Ask one address after the other."""

    def room(coming: int) -> None:
        require_room(path.parent, coming + room_bytes, what=path.name, next=next)

    faults: list[str] = []
    unreachable = 0
    partial = Partial(path, known)
    for number, url in enumerate(urls, 1):
        patient = manners if number == len(urls) else replace(manners, attempts=min(manners.attempts, _FIRST_ATTEMPTS))
        try:
            Transfer(client, url, partial=partial, manners=patient, room=room, progress=progress).run()
            seen = _prove(partial.file, path, known)
            _beside(path, ".sha256").write_text(f"{seen}  {path.name}\n", encoding="utf-8")
            partial.finish(path)
            return seen
        except _WrongSum as error:
            partial.clear()
            faults.append(str(error))
        except Unusable as error:
            faults.append(f"{error} {refusal}".strip() if error.how == "refused" else str(error))
            unreachable += error.how == "unreachable"
            if partial.have and partial.resumable and not known:
                break  # another address would have to begin anew
    if unreachable == len(faults):
        faults[-1] += " Is this machine online?"
    if partial.have and partial.resumable:
        faults[-1] += f" {amount(partial.have)} are kept, the next try goes on from there."
    raise MissingFault(*faults, next=next)


def _prove(file: Path, path: Path, known: dict[str, str]) -> str:
    """SHA-256 of ``file``, which is or will be ``path``; it must have the checksums that are known.

    Raises:
        _WrongSum: it has another one than it should.
    """
    record = _beside(path, ".sha256")
    origin = "published"
    if not known and record.exists():
        known = {"sha256": record.read_text(encoding="utf-8").split()[0]}
        origin = f"recorded in {record} (remove that to accept another file)"
    seen = file_digests(file, {"sha256", *known})
    for kind, value in known.items():
        if seen[kind] != value:
            name = _NAMES[kind]
            raise _WrongSum(f"{path.name} has {name} {seen[kind]}, the one {origin} is {value}: it was removed.")
    return seen["sha256"]


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
