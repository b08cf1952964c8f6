"""A file that has been downloaded in part: its first bytes in ``NAME.part``, and a note of them beside it.

The note (``NAME.part.json``) is written after the bytes it counts, so that after a kill at any moment it claims no
byte that is not there.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

_SCHEMA = 1
_SAVE_SECONDS = 1.0


class PartialFile:
    """The first bytes of a file, and the version of the file that they belong to.

    Args:
        path: path of the file once it is complete.
        checksums: published digests of the wanted file by algorithm.

    Attributes:
        file: path of the bytes.
        size: number of bytes that are there.
        total: length of the whole file, None if unknown.
        validator: the server's strong validator of the file, None if it sent none.
    """

    def __init__(self, path: Path, checksums: Mapping[str, str]) -> None:
        self.file = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self._checksums = {kind: value.lower() for kind, value in checksums.items()}
        self._source = ""
        self._same_checksum = False
        self._saved = 0.0
        self.size = 0
        self.total: int | None = None
        self.validator: str | None = None
        self._read_note()

    @property
    def complete(self) -> bool:
        """True once every byte is there."""
        return self.total is not None and self.size >= self.total

    @property
    def resumable(self) -> bool:
        """True if the bytes can be continued without the danger of mixing two versions of the file."""
        return self.size > 0 and (self.validator is not None or bool(self._checksums))

    def switch_to(self, url: str) -> None:
        """Continue from an address; discard the bytes unless it is certain to have the same file."""
        source = hashlib.sha256(url.encode()).hexdigest()  # an address may hold a secret
        if source != self._source or self.validator is None:
            if self._same_checksum:  # the validator of another server says nothing here
                self.validator = None
            else:
                self.clear()
        self._source = source

    def begin(self, *, total: int | None, validator: str | None) -> None:
        """Start with an empty file."""
        self.file.write_bytes(b"")
        self.size, self.total, self.validator = 0, total, validator
        self._same_checksum = bool(self._checksums)
        self.save()

    def add(self, count: int) -> None:
        """Count bytes that were just written to the end of the file."""
        self.size += count
        if time.monotonic() - self._saved >= _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Flush the bytes to disk and note their number; do nothing if there is no file."""
        if not self.file.exists():
            return
        with self.file.open("r+b") as file:
            os.fsync(file.fileno())
        note = {
            "schema": _SCHEMA,
            "source": self._source,
            "checksums": self._checksums,
            "tag": self.validator,
            "total": self.total,
            "spans": [[0, self.total, self.size]],  # begin, end, done
        }
        new = self._note.with_name(f"{self._note.name}.new")
        new.write_text(json.dumps(note), encoding="utf-8")
        new.replace(self._note)
        self._saved = time.monotonic()

    def clear(self) -> None:
        """Remove the bytes and the note."""
        self._note.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)
        self.size, self.total, self.validator = 0, None, None

    def finish(self, path: Path) -> None:
        """Give the complete file its name."""
        self.file.replace(path)
        self._note.unlink(missing_ok=True)

    def _read_note(self) -> None:
        """Take over what an earlier call left, unless it is of another published file or cannot be trusted."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            size = 0
            for begin, _, done in note["spans"]:
                if begin == size:  # versions with several connections left gaps, behind which nothing is used
                    size += done
            total, validator, source = note["total"], note["tag"], note["source"]
            shared = self._checksums.keys() & note["checksums"].keys()
            equal = all(self._checksums[kind] == note["checksums"][kind] for kind in shared)
            if note["schema"] == _SCHEMA and equal and self.file.stat().st_size >= size:
                self.size, self.total, self.validator, self._source = size, total, validator, source
                self._same_checksum = bool(shared)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return
