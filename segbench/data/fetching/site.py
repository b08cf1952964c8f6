"""The folder of one data set under the data root, and how archives become files in it.

Files are unpacked beside it and moved in one by one, so that each is whole or not there. After a kill at any moment
the same command finishes the work: the ledger in the folder says which archives are in it altogether, files of the
others that are in their place already are compared and kept.
"""

import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock

from segbench.core.archive import Conflict, extract
from segbench.core.disk import disk_fault
from segbench.core.errors import Busy, MissingFault, RunFault
from segbench.data.doctor.listing import list_split
from segbench.data.facts import Archive, DatasetOptions, member_path
from segbench.data.reader import locate

from .ledger import HIDDEN, Entry, Ledger
from .listener import Progress

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")


class Site:
    """Where a data set lies, or will.

    Args:
        name: of the data set.
        root: the data root.
        options: facts of the data set.
        next: the command that goes on with what is being done.
        anew: the command that moves aside what is there, and begins anew.

    Attributes:
        folder: of the data set.
        work: hidden folder in the data root for what is on its way.
    """

    def __init__(self, name: str, root: Path, *, options: DatasetOptions, next: str, anew: str) -> None:
        self._name, self._root, self._options, self._next, self._anew = name, root, options, next, anew
        self.folder = root / name
        self.work = root / HIDDEN / name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out, and remove what killed ones left half unpacked.

        Raises:
            Busy: another process is at it.
            RunFault: the disk refuses.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.work.with_name(f"{self._name}.lock"))
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise Busy(f"Another process is putting {self.folder} together.", next=self._next) from None
        except OSError as error:
            raise disk_fault(error, self._root, kept="nothing was changed", next=self._next) from error
        try:
            for left in self.work.iterdir():
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            lock.release()

    def ledger(self) -> Ledger | None:
        """What was unpacked into the folder, None if segbench did not make it."""
        return Ledger.read(self.folder)

    def is_blank(self) -> bool:
        """Whether nothing of the data set lies there: no folder, or only archives and hidden files."""
        if not self.folder.is_dir():
            return not self.folder.is_symlink()
        archives = {archive.name for archive in self._options.archives}
        return all(item.name in archives or item.name[0] == "." for item in self.folder.iterdir())

    def whole_splits(self, wanted: Sequence[str]) -> set[str]:
        """Those of the splits of which all files are there, wherever the reader finds them."""
        folder = locate(self._name, self._root)
        if folder is None:
            return set()
        lists = [list_split(self._name, folder, split, self._options) for split in wanted]
        return {
            item.split
            for item in lists
            if len(item.whole) == len(item.pairs) and len(item.pairs) in self._options.splits[item.split]
        }

    def needed(self, wanted: Sequence[str], *, replace: bool) -> list[Archive]:
        """The archives that lack for some splits, in their order.

        To a folder that segbench did not make only those are added that serve none of the splits that it has.
        """
        serving = [item for item in self._options.archives if not item.splits or set(item.splits) & set(wanted)]
        ledger = self.ledger()
        if replace and not (ledger and ledger.replacing):
            return serving
        if ledger is not None and not ledger.adopted:
            return [item for item in serving if not ledger.holds(item)]
        begun = ledger.begun if ledger is not None else set[str]()
        every = list(self._options.splits)
        whole = self.whole_splits(every)
        found = locate(self._name, self._root)
        elsewhere = found is not None and not found.is_relative_to(self.folder)
        closed = elsewhere or whole >= set(wanted) or not (whole or self.is_blank())
        return [
            item
            for item in serving
            if item.name in begun
            or not (closed or (ledger and ledger.holds(item)) or set(item.splits or every) & whole)
        ]

    def require_own(self) -> None:
        """Refuse to write through a link into a folder of the user's.

        Raises:
            MissingFault: the folder is a link.
        """
        if self.folder.is_symlink():
            fault = f"{self.folder} is a link to {self.folder.resolve()}, which lacks some of the data"
            raise MissingFault(f"{fault}; segbench does not write there.", next=self._anew)

    def unpack(
        self, archive: Archive, path: Path, *, sha256: str, replace: bool, progress: Progress | None = None
    ) -> Entry:
        """Put the wanted members of an archive into the folder.

        Args:
            archive: facts of it.
            path: where it lies; it stays there.
            sha256: its digest, for the ledger.
            replace: move aside what is there, unless that was begun in the place of another one already.
            progress: called with (bytes so far, bytes in all or None).

        Raises:
            MissingFault: damaged or not what it should be.
            Conflict: it holds another file of a path that is there.
            RunFault: the disk refuses, or the folder is not segbench's to write to.
        """
        ledger = self.ledger()
        aside = replace and not (ledger and ledger.replacing)
        if not aside:
            self.require_own()
        staged = self.work / "unpacked"
        present = self.folder if self.folder.is_dir() and not aside else None
        files = self._stage(archive, path, staged, present, progress)
        if aside:
            self.move_aside()
            ledger = None
        if ledger is None:
            ledger = Ledger(self.folder)
            ledger.adopted, ledger.replacing = not self.is_blank(), aside
        ledger.begun.add(archive.name)
        with self._kept():
            ledger.save()  # before the first file: from now on the folder is known for segbench's
            _merge(staged, self.folder)
            entry = Entry(archive.name, sha256, files)
            ledger.add(archive, entry)
        return entry

    def finish(self) -> None:
        """All that was wanted is there."""
        ledger = self.ledger()
        if ledger is not None and ledger.replacing:
            ledger.replacing = False
            with self._kept():
                ledger.save()

    def move_aside(self, *, with_archives: bool = False) -> None:
        """Give what is there the first free name ``NAME.before-N``; archives fetched by hand stay unless they shall go.

        Raises:
            RunFault: it cannot be renamed.
        """
        folder = self.folder
        if not folder.exists() and not folder.is_symlink():
            return
        number = 1
        while os.path.lexists(aside := folder.with_name(f"{folder.name}.before-{number}")):
            number += 1
        try:
            if not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()
                return
            folder.rename(aside)
            for archive in () if with_archives or aside.is_symlink() else self._options.archives:
                if (aside / archive.name).is_file():
                    folder.mkdir(exist_ok=True)
                    (aside / archive.name).rename(folder / archive.name)
        except OSError as error:
            raise RunFault(f"{folder} cannot be moved aside: {error.strerror}.", next=self._next) from error

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """What a disk does to a write ends in a fault that goes on with this very work."""
        try:
            yield
        except RunFault as error:
            raise RunFault(*error.faults, next=self._next) from error
        except OSError as error:
            raise disk_fault(error, self.folder, kept="what is unpacked is kept", next=self._next) from error

    def _stage(
        self, archive: Archive, path: Path, staged: Path, present: Path | None, progress: Progress | None
    ) -> int:
        """Unpack into ``staged`` what is not in ``present`` yet; returns the number of files of both."""
        itself = None if archive.name.endswith(_ARCHIVE_SUFFIXES) else member_path(archive, archive.name)
        try:
            if itself is None:
                return extract(
                    path,
                    staged,
                    select=lambda member: member_path(archive, member),
                    max_bytes=archive.unpacked_bytes or 4 * self._options.size_bytes,
                    present=present,
                    progress=progress,
                    next=self._next,
                )
            return _take(path, itself, staged, present)
        except Conflict as error:
            raise Conflict(*error.faults, next=self._anew) from None


def _take(path: Path, itself: str, staged: Path, present: Path | None) -> int:
    """A file that is no archive but itself wanted."""
    there = present / itself if present is not None else None
    (staged / itself).parent.mkdir(parents=True)
    if there is None or not there.exists():
        shutil.copyfile(path, staged / itself)
    elif not filecmp.cmp(path, there, shallow=False):
        raise Conflict(f"{path} and {there} are different files.")
    return 1


def _merge(staged: Path, folder: Path) -> None:
    """Move every file to its place; none of them is there."""
    for parent, _, names in os.walk(staged):
        target = folder / Path(parent).relative_to(staged)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            (Path(parent) / name).replace(target / name)
    shutil.rmtree(staged, ignore_errors=True)
