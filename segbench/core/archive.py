"""Unpack zip and tar files that somebody else made: nothing leaves the folder, and all of it appears at once."""

import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from .errors import MissingFault, RunFault

Select = Callable[[str], str | None]  # a member's path to its path in the target folder, None to leave it out

_CHUNK_BYTES = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
)


class _Refused(Exception):
    """The archive holds what must not be unpacked."""


def extract(archive: Path, target: Path, *, select: Select, max_bytes: int, next: str = "") -> int:
    """Unpack the selected members into a new folder; returns how many files that were.

    The files are written to a temporary folder beside ``target``, which takes its name when all went well.

    Args:
        archive: zip or tar, compressed or not.
        target: folder that does not exist yet or is empty.
        select: gives each wanted member its relative path; called with the member's path as it is stored.
        max_bytes: unpacked size at which the archive is refused.
        next: the command that helps after a failure.

    Raises:
        MissingFault: damaged, no archive at all, nothing selected, or a selected member is a link, lies outside
            of the folder, occurs twice, or makes the whole larger than ``max_bytes``.
        RunFault: no room on the disk, or the target is not empty.
    """
    if target.exists() and any(target.iterdir()):
        raise RunFault(f"{target} exists and is not empty.", next=next)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        count = _unpack(archive, staging, select, max_bytes)
        if not count:
            raise _Refused("holds none of the expected files")
        staging.chmod(0o755)  # mkdtemp makes it private
        if target.exists():
            target.rmdir()
        staging.rename(target)
    except _Refused as error:
        raise MissingFault(f"{archive} {error}; nothing was unpacked.", next=next) from None
    except (*_DAMAGED, NotImplementedError) as error:
        raise MissingFault(f"{archive} is damaged or no archive: {error}.", next=next) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFault(f"The disk of {target.parent} is full; nothing was unpacked.", next=next) from error
        raise RunFault(f"{error.filename or archive}: {error.strerror or error}.", next=next) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return count


def _unpack(archive: Path, folder: Path, select: Select, max_bytes: int) -> int:
    left, count = max_bytes, 0
    members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    for name, stream in members(archive, lambda name: select(name) is not None):
        path = folder / _safe(select(name) or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            out = path.open("xb")
        except FileExistsError:
            raise _Refused(f"holds {name!r} twice") from None
        with stream, out:
            while chunk := stream.read(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise _Refused(f"unpacks to more than {max_bytes / 1e6:,.1f} MB")
                out.write(chunk)
        count += 1
    return count


def _zip_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if info.is_dir() or not wanted(info.filename):
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _Refused(f"holds {info.filename!r}, which is no plain file")
            if info.flag_bits & 1:
                raise _Refused("is encrypted")
            yield info.filename, file.open(info)


def _tar_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive, "r:*") as file:
        for info in file:
            if info.isdir() or not wanted(info.name):
                continue
            stream = file.extractfile(info) if info.isreg() else None
            if stream is None:
                raise _Refused(f"holds {info.name!r}, which is no plain file")
            yield info.name, stream
        # tarfile stops at the tar's own end mark; the checksum of the compression stands behind it
        while file.fileobj is not None and file.fileobj.read(_CHUNK_BYTES):
            pass


def _safe(name: str) -> PurePosixPath:
    """The path if it is relative and stays inside; also refuses what another system would read differently."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or any(sign in name for sign in ("\\", ":", "\0")):
        raise _Refused(f"holds {name!r}, which does not lie inside its folder")
    return path
