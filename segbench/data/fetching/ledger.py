"""Ledger of the archives that were unpacked into a data set's folder: ``.segbench/archives.json`` in it.

It is written before and after each archive. A folder that has one was made by segbench, and the same command can
finish it.
"""

import json
from pathlib import Path
from typing import NamedTuple

from segbench.core import atomic
from segbench.core.spec import digest
from segbench.data.facts import Archive
from segbench.data.places import HIDDEN

_SCHEMA = 1


class Entry(NamedTuple):
    """An archive that was unpacked.

    Attributes:
        name: of the archive.
        sha256: of the archive, in hexadecimal.
        files: number of its members that were wanted.
    """

    name: str
    sha256: str
    files: int


class Ledger:
    """Archives that were unpacked into one folder.

    Args:
        folder: of the data set; need not exist yet.

    Attributes:
        entries: the archives by name, each with a digest of the pattern of its wanted members.
        begun: names of archives of which some files are in their place, and perhaps not all.
        adopted: True if the folder held files of the user's before, which no archive accounts for.
        replacing: True while the folder is being built in the place of another one.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / HIDDEN / "archives.json"
        self.entries: dict[str, tuple[Entry, str]] = {}
        self.begun: set[str] = set()
        self.adopted = self.replacing = False

    @classmethod
    def read(cls, folder: Path) -> "Ledger | None":
        """Return the ledger of a folder, None if segbench did not make it."""
        ledger = cls(folder)
        try:
            data = json.loads(ledger._path.read_text(encoding="utf-8"))
            if data["schema"] != _SCHEMA:
                return None
            for item in data["archives"]:
                entry = Entry(item["name"], item["sha256"], item["files"])
                ledger.entries[entry.name] = entry, item["members"]
            ledger.begun = set(data["begun"])
            ledger.adopted, ledger.replacing = bool(data["adopted"]), bool(data["replacing"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return ledger

    def holds(self, archive: Archive) -> bool:
        """Return True if the archive was unpacked, with the members that are wanted today."""
        found = self.entries.get(archive.name)
        return found is not None and found[1] == digest(archive.members)

    def add(self, archive: Archive, entry: Entry) -> None:
        """Record an archive of which every file is in its place, and save.

        Raises:
            RunFault: the disk is full or not writable.
        """
        self.entries[archive.name] = entry, digest(archive.members)
        self.begun.discard(archive.name)
        self.save()

    def save(self) -> None:
        """Write the ledger, whole or not at all.

        Raises:
            RunFault: the disk is full or not writable.
        """
        archives = [{**entry._asdict(), "members": members} for entry, members in self.entries.values()]
        state = {"adopted": self.adopted, "replacing": self.replacing, "begun": sorted(self.begun)}
        atomic.write_json(self._path, {"schema": _SCHEMA, **state, "archives": archives})
