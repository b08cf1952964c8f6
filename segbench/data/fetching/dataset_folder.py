"""The folder of one data set under the data root, and unpacking of archives into it.

Files are unpacked beside it and moved in one by one, so that each is whole or not there. After a kill at any moment
the same command finishes the work: the ledger in the folder says which archives are completely unpacked, and files of
the others that are in their place already are compared and kept.
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
from segbench.core.progress import Count, ignore
from segbench.data.facts import Archive, DatasetOptions, member_path
from segbench.data.handle import find_dataset
from segbench.data.places import HIDDEN
from segbench.data.presence import presence
from segbench.data.reader import locate

from .ledger import Entry, Ledger

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")


class DatasetFolder:
    """Folder that holds a data set, or will.

    Args:
        name: of the data set.
        root: the data root.
        options: facts of the data set.
        next: the command that resumes this work.
        replace_command: the command that moves aside what is there, and starts over.

    Attributes:
        path: of the folder.
        work: hidden folder in the data root for archives and files on their way.
    """

    def __init__(self, name: str, root: Path, *, options: DatasetOptions, next: str, replace_command: str) -> None:
        self._name, self._root, self._options = name, root, options
        self._next, self._replace_command = next, replace_command
        self.path = root / name
        self.work = root / HIDDEN / name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out, and remove what killed ones left half unpacked.

        Raises:
            Busy: another process works on this data set.
            RunFault: the disk is full or not writable.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.work.with_name(f"{self._name}.lock"))
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise Busy(f"Another process is putting {self.path} together.", next=self._next) from None
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
        """Return the ledger of the folder, None if segbench did not make it."""
        return Ledger.read(self.path)

    def is_empty(self) -> bool:
        """Return True if there is no folder, or one with only archives and hidden files."""
        if not self.path.is_dir():
            return not self.path.is_symlink()
        archives = {archive.name for archive in self._options.archives}
        return all(item.name in archives or item.name[0] == "." for item in self.path.iterdir())

    def whole_splits(self, wanted: Sequence[str]) -> set[str]:
        """Return the splits of which all files are there, wherever the reader finds them."""
        dataset = find_dataset(self._name, self._root, options=self._options)
        return {split.split for split in presence(dataset, wanted).splits if split.ready}

    def needed(self, wanted: Sequence[str], *, replace: bool) -> list[Archive]:
        """Return the archives that are missing for some splits, in their order.

        A folder that segbench did not make only gets archives that serve none of the splits that it has.
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
        outside = found is not None and not found.is_relative_to(self.path)
        closed = outside or whole >= set(wanted) or not (whole or self.is_empty())
        return [
            item
            for item in serving
            if item.name in begun
            or not (closed or (ledger and ledger.holds(item)) or set(item.splits or every) & whole)
        ]

    def require_own(self) -> None:
        """Raise MissingFault if the folder is a link: segbench does not write into a folder of the user's."""
        if self.path.is_symlink():
            fault = f"{self.path} is a link to {self.path.resolve()}, which lacks some of the data"
            raise MissingFault(f"{fault}; segbench does not write there.", next=self._replace_command)

    def unpack(self, archive: Archive, path: Path, *, sha256: str, replace: bool, progress: Count = ignore) -> Entry:
        """Unpack the wanted members of an archive into the folder.

        Args:
            archive: its facts.
            path: of the archive, which stays there.
            sha256: its digest, for the ledger.
            replace: move aside what is there, unless an earlier call that was killed has done so.
            progress: called with (bytes so far, bytes in all or None).

        Raises:
            MissingFault: the archive is damaged or holds no wanted members, or the folder is a link.
            Conflict: a member differs from the file of its path that is there.
            RunFault: the disk is full or not writable.
        """
        ledger = self.ledger()
        aside = replace and not (ledger and ledger.replacing)
        if not aside:
            self.require_own()
        staged = self.work / "unpacked"
        present = self.path if self.path.is_dir() and not aside else None
        files = self._stage(archive, path, staged, present, progress)
        if aside:
            self.move_aside()
            ledger = None
        if ledger is None:
            ledger = Ledger(self.path)
            ledger.adopted, ledger.replacing = not self.is_empty(), aside
        ledger.begun.add(archive.name)
        with self._kept():
            ledger.save()  # before the first file, so that the folder is known to be segbench's
            _merge(staged, self.path)
            entry = Entry(archive.name, sha256, files)
            ledger.add(archive, entry)
        return entry

    def finish(self) -> None:
        """Record that everything wanted is there."""
        ledger = self.ledger()
        if ledger is not None and ledger.replacing:
            ledger.replacing = False
            with self._kept():
                ledger.save()

    def move_aside(self, *, with_archives: bool = False) -> None:
        """Rename the folder to the first free ``NAME.before-N``; archives of the user's stay unless told otherwise.

        Raises:
            RunFault: it cannot be renamed.
        """
        folder = self.path
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
        """Turn faults of the disk into ones that say what is kept and how this work is resumed."""
        try:
            yield
        except RunFault as error:
            raise RunFault(*error.faults, next=self._next) from error
        except OSError as error:
            raise disk_fault(error, self.path, kept="what is unpacked is kept", next=self._next) from error

    def _stage(self, archive: Archive, path: Path, staged: Path, present: Path | None, progress: Count) -> int:
        """Unpack into ``staged`` what is not in ``present`` yet; return the number of files in both."""
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
            return _copy(path, itself, staged, present)
        except Conflict as error:
            raise Conflict(*error.faults, next=self._replace_command) from None


def _copy(path: Path, itself: str, staged: Path, present: Path | None) -> int:
    """Copy a file that is no archive but itself wanted."""
    there = present / itself if present is not None else None
    (staged / itself).parent.mkdir(parents=True)
    if there is None or not there.exists():
        shutil.copyfile(path, staged / itself)
    elif not filecmp.cmp(path, there, shallow=False):
        raise Conflict(f"{path} and {there} are different files.")
    return 1


def _merge(staged: Path, folder: Path) -> None:
    """Move every file to its place, where there is none yet."""
    for parent, _, names in os.walk(staged):
        target = folder / Path(parent).relative_to(staged)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            (Path(parent) / name).replace(target / name)
    shutil.rmtree(staged, ignore_errors=True)
