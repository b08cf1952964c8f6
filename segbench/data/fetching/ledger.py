"""What was unpacked into a data set's folder: ``.segbench/archives.json`` in it, written before and after each archive.

A folder that has one was made by segbench, and the same command can finish it.
"""

import json
from pathlib import Path
from typing import NamedTuple

from segbench.core import atomic
from segbench.core.spec import digest
from segbench.data.facts import Archive

HIDDEN = ".segbench"
_SCHEMA = 1


class Entry(NamedTuple):
    """An archive that was unpacked.

    Attributes:
        name: of the archive.
        sha256: of the archive, in hexadecimal.
        files: how many of its members were wanted.
    """

    name: str
    sha256: str
    files: int


class Ledger:
    """The archives that were unpacked into one folder.

    Args:
        folder: of the data set; need not exist yet.

    Attributes:
        entries: the archives in it, by name, each with a digest of which of its members were wanted.
        begun: names of archives of which some files are in their place, and perhaps not all.
        adopted: whether the folder held files of the user's before, which no archive accounts for.
        replacing: whether the folder is being built in the place of another one and is not finished.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / HIDDEN / "archives.json"
        self.entries: dict[str, tuple[Entry, str]] = {}
        self.begun: set[str] = set()
        self.adopted = self.replacing = False

    @classmethod
    def read(cls, folder: Path) -> "Ledger | None":
        """The ledger of a folder, None if segbench did not make it."""
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
        """Whether it was unpacked, and with the members that are wanted today."""
        found = self.entries.get(archive.name)
        return found is not None and found[1] == digest(archive.members)

    def add(self, archive: Archive, entry: Entry) -> None:
        """Remember an archive of which every file is in its place."""
        self.entries[archive.name] = entry, digest(archive.members)
        self.begun.discard(archive.name)
        self.save()

    def save(self) -> None:
        """Write it, whole or not at all.

        Raises:
            RunFault: the disk is full or not writable.
        """
        archives = [{**entry._asdict(), "members": members} for entry, members in self.entries.values()]
        state = {"adopted": self.adopted, "replacing": self.replacing, "begun": sorted(self.begun)}
        atomic.write_json(self._path, {"schema": _SCHEMA, **state, "archives": archives})
