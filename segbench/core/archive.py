"""Safe extraction of untrusted zip and tar files: nothing outside the target folder, and all or nothing."""

import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path, PurePosixPath
from typing import IO

from .disk import disk_fault, require_room
from .errors import MissingFault, RunFault
from .progress import Count, ignore

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


class Conflict(MissingFault):
    """A member of the archive differs from the file that already exists at its path."""


class _Refused(Exception):
    """The archive has a member that must not be unpacked."""


class _Differs(_Refused):
    """A member differs from the file that already exists at its path."""


def extract(
    archive: Path,
    target: Path,
    *,
    select: Select,
    max_bytes: int,
    present: Path | None = None,
    progress: Count = ignore,
    next: str = "",
) -> int:
    """Unpack the selected members into a new folder and return the number of files, present ones included.

    The files are written to a temporary folder beside ``target`` that is renamed once all of them are complete.

    Args:
        archive: zip or tar, compressed or not.
        target: folder that does not exist yet or is empty.
        select: returns the relative path of a member in the folder, or None to leave it out; called with the
            path as stored, without a leading ``./``.
        max_bytes: maximum unpacked size.
        present: folder with files from before. A member that exists there is not written again, but must be
            equal byte for byte.
        progress: called after each piece with the bytes so far and in all: of the members, or for tar, whose
            members are not known beforehand, of the archive.
        next: command that helps after a failure.

    Raises:
        MissingFault: damaged, no archive at all, nothing selected, or a selected member is a link, lies outside
            of the folder, occurs twice or makes the whole larger than ``max_bytes``.
        Conflict: a selected member differs from the present file.
        RunFault: no room on the disk, or the target is not empty.
    """
    if target.exists() and any(target.iterdir()):
        raise RunFault(f"{target} exists and is not empty.", next=next)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with closing(_Zip(archive) if zipfile.is_zipfile(archive) else _Tar(archive)) as source:
            if declared := source.declared(select):
                require_room(target.parent, min(declared, max_bytes), what=f"What {archive.name} unpacks to", next=next)
            count = _unpack(source, staging, select, max_bytes, present, progress)
        if not count:
            raise _Refused("holds none of the expected files")
        staging.chmod(0o755)  # mkdtemp creates private folders
        if target.exists():
            target.rmdir()
        staging.rename(target)
    except _Refused as error:
        kind = Conflict if isinstance(error, _Differs) else MissingFault
        raise kind(f"{archive} {error}; nothing of it was unpacked.", next=next) from None
    except (*_DAMAGED, NotImplementedError) as error:
        raise MissingFault(f"{archive} is damaged or no archive: {error}.", next=next) from error
    except OSError as error:
        raise disk_fault(error, target.parent, kept=f"{archive.name} was not unpacked", next=next) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return count


def _unpack(
    source: "_Zip | _Tar", folder: Path, select: Select, max_bytes: int, present: Path | None, progress: Count
) -> int:
    done = 0
    seen: set[PurePosixPath] = set()
    for name, stream in source.members(select):
        relative = _safe(select(name) or "")
        if relative in seen:
            raise _Refused(f"holds {name!r} twice")
        seen.add(relative)
        there = present / relative if present is not None else None
        comparing = there is not None and there.exists()
        path = there if there is not None and comparing else folder / relative
        with stream, _opened(path, name, comparing=comparing) as file:
            while piece := stream.read(_CHUNK_BYTES):
                done += len(piece)
                if done > max_bytes:
                    raise _Refused(f"unpacks to more than {max_bytes / 1e6:,.1f} MB")
                if not comparing:
                    file.write(piece)
                elif file.read(len(piece)) != piece:
                    raise _Differs(f"holds {name!r}, and {path} is another file")
                progress(*source.progress(done))
            if comparing and file.read(1):
                raise _Differs(f"holds {name!r}, and {path} is another file")
    return len(seen)


def _opened(path: Path, name: str, *, comparing: bool) -> IO[bytes]:
    if comparing:
        return path.open("rb")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.open("xb")
    except FileExistsError:  # names that are equal on this file system alone, such as in another case
        raise _Refused(f"holds {name!r} twice") from None


class _Zip:
    """Members of a zip file, whose directory lists all of them."""

    def __init__(self, path: Path) -> None:
        self._file = zipfile.ZipFile(path)
        self._total: int | None = None

    def close(self) -> None:
        self._file.close()

    def declared(self, select: Select) -> int | None:
        """Return the unpacked size of the selected members according to the directory."""
        self._total = sum(info.file_size for info in self._wanted(select))
        return self._total

    def progress(self, unpacked: int) -> tuple[int, int | None]:
        return unpacked, self._total

    def members(self, select: Select) -> Iterator[tuple[str, IO[bytes]]]:
        for info in self._wanted(select):
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _Refused(f"holds {info.filename!r}, which is no plain file")
            if info.flag_bits & 1:
                raise _Refused("is encrypted")
            yield _plain(info.filename), self._file.open(info)

    def _wanted(self, select: Select) -> list[zipfile.ZipInfo]:
        return [info for info in self._file.infolist() if not info.is_dir() and select(_plain(info.filename))]


class _Tar:
    """Members of a tar file, read sequentially."""

    def __init__(self, path: Path) -> None:
        self._size = path.stat().st_size
        with ExitStack() as opened:
            self._raw = opened.enter_context(path.open("rb"))
            self._file = opened.enter_context(tarfile.open(fileobj=self._raw, mode="r:*"))
            self._opened = opened.pop_all()

    def close(self) -> None:
        self._opened.close()

    def declared(self, _: Select) -> int | None:
        return None

    def progress(self, _: int) -> tuple[int, int | None]:
        return self._raw.tell(), self._size

    def members(self, select: Select) -> Iterator[tuple[str, IO[bytes]]]:
        for info in self._file:
            if info.isdir() or not select(_plain(info.name)):
                continue
            stream = self._file.extractfile(info) if info.isreg() else None
            if stream is None:
                raise _Refused(f"holds {info.name!r}, which is no plain file")
            yield _plain(info.name), stream
        # tarfile stops at the end-of-archive mark; read on, so that the compression's checksum is verified
        while self._file.fileobj is not None and self._file.fileobj.read(_CHUNK_BYTES):
            pass


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _safe(name: str) -> PurePosixPath:
    """Return the path if it is relative and stays inside the folder, on any operating system."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or any(sign in name for sign in ("\\", ":", "\0")):
        raise _Refused(f"holds {name!r}, which does not lie inside its folder")
    return path
