"""A file that has arrived in part: its bytes in ``NAME.part``, and beside them which bytes those are.

The note (``NAME.part.json``) is written after the bytes it tells of, so that after a kill at any moment it claims
no byte that is not there.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = 1
_SAVE_SECONDS = 1.0


@dataclass
class Span:
    """A stretch of the file that one connection brings.

    Attributes:
        begin: its first byte.
        end: the byte after its last, None if the server did not say how long the file is.
        done: how many bytes of it are there.
    """

    begin: int
    end: int | None
    done: int = 0

    @property
    def position(self) -> int:
        """The first byte that lacks."""
        return self.begin + self.done

    @property
    def complete(self) -> bool:
        return self.end is not None and self.position >= self.end


class Partial:
    """What has arrived of one file. Several threads may add to different spans of it.

    Args:
        path: where the file shall lie when it is whole.
        checksums: published digests of the file that is wanted.

    Attributes:
        file: the bytes.
        tag: what the server calls this version of the file, where that can guard a range.
        total: length of the whole file, None if unknown.
        spans: what is there and what lacks, in order; empty before the first answer.
    """

    def __init__(self, path: Path, checksums: Mapping[str, str]) -> None:
        self.file = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self._checksums = dict(checksums)
        self._source = ""
        self._same_checksum = False
        self._lock = threading.Lock()
        self._saved = 0.0
        self.tag: str | None = None
        self.total: int | None = None
        self.spans: list[Span] = []
        self._read()

    @property
    def have(self) -> int:
        """Bytes that are there."""
        return sum(span.done for span in self.spans)

    @property
    def checked(self) -> bool:
        """Whether a published checksum will prove the file, whoever sent it."""
        return bool(self._checksums)

    @property
    def resumable(self) -> bool:
        """Whether what is there can be continued without the danger of mixing two versions of the file."""
        return bool(self.spans) and (self.tag is not None or self.checked)

    @property
    def lacking(self) -> list[Span]:
        """Spans that are not complete."""
        return [span for span in self.spans if not span.complete]

    def turn_to(self, source: str) -> None:
        """Go on from this address; begin anew unless its bytes are certain to be those of before."""
        key = hashlib.sha256(source.encode()).hexdigest()  # an address may hold a secret
        same_version = key == self._source and self.tag is not None
        if self.spans and not same_version:
            if self._same_checksum:  # what this server calls the file is not known
                self.tag = None
            else:
                self.clear()
        self._source = key

    def begin(self, spans: list[Span], *, total: int | None, tag: str | None) -> None:
        """Start with an empty file."""
        with self._lock:
            self.file.write_bytes(b"")
            self.spans, self.total, self.tag = spans, total, tag
            self._same_checksum = bool(self._checksums)
            self._save()

    def wrote(self, span: Span, count: int) -> int:
        """Tell that the next bytes of a span are in the file; returns how many are there in all."""
        with self._lock:
            span.done += count
            if time.monotonic() - self._saved >= _SAVE_SECONDS:
                self._save()
            return self.have

    def end(self, span: Span) -> None:
        """The file ends where this span has come to; for one whose length the server did not say."""
        with self._lock:
            span.end = self.total = span.position

    def save(self) -> None:
        """Note what is there."""
        with self._lock:
            if self.spans:
                self._save()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._note.unlink(missing_ok=True)
            self.file.unlink(missing_ok=True)
            self.spans, self.total, self.tag = [], None, None

    def finish(self, path: Path) -> None:
        """The file is whole: give it its name."""
        self.file.replace(path)
        self._note.unlink(missing_ok=True)

    def _save(self) -> None:
        with self.file.open("r+b") as stream:
            os.fsync(stream.fileno())
        data = {
            "schema": _SCHEMA,
            "source": self._source,
            "checksums": self._checksums,
            "tag": self.tag,
            "total": self.total,
            "spans": [[span.begin, span.end, span.done] for span in self.spans],
        }
        new = self._note.with_name(f"{self._note.name}.new")
        new.write_text(json.dumps(data), encoding="utf-8")
        new.replace(self._note)
        self._saved = time.monotonic()

    def _read(self) -> None:
        """Take what an earlier call left, unless it is of another published file or its note cannot be trusted."""
        try:
            data = json.loads(self._note.read_text(encoding="utf-8"))
            spans = [Span(begin, end, done) for begin, end, done in data["spans"]]
            shared = self._checksums.keys() & data["checksums"].keys()
            equal = all(self._checksums[kind] == data["checksums"][kind] for kind in shared)
            reach = max((span.position for span in spans if span.done), default=0)
            if data["schema"] == _SCHEMA and equal and self.file.stat().st_size >= reach:
                self.total, self.tag, self._source = data["total"], data["tag"], data["source"]
                self._same_checksum = bool(shared)
                self.spans = spans
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return
