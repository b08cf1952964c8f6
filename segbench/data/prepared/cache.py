"""Prepared splits: every image decoded once, in one file that is mapped into memory. Free of torch.

``CACHE/prepared/NAME/SPLIT-TABLE-.../`` holds ``pixels-ID.bin``, the images (uint8 RGB) each followed by its train ids,
and ``index.jsonl``: a head, one line per image, and a last line with a digest of those before.

A truncated file is never used: the index is written atomically, after all pixels. When a prepared split is opened, the
digest of its index, the length of its pixels, their last 32 bytes (the ID of the index) and the checksum of the last
image must match; ``segbench data prepare`` compares every checksum. Nor is a stale one used: names, sizes and times of
all source files, the values of the class table and the code that decoded them must be unchanged.
"""

import hashlib
import json
import mmap
import threading
import weakref
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segbench.core.spec import DataSpec, Size, digest
from segbench.data.classes import ClassTable
from segbench.data.dataset import Sample
from segbench.data.places import cache_root
from segbench.data.reader import Pair

from .decode import Decoder

FORMAT = 1  # increase when the layout changes, which invalidates every prepared split
INDEX, JOURNAL = "index.jsonl", "index.part"  # the journal becomes the index when it is complete
CHANNELS = 4  # bytes per pixel: red, green, blue, train id

# One map per file however often it is opened; freed with the last array on it.
_maps: weakref.WeakValueDictionary[Path, mmap.mmap] = weakref.WeakValueDictionary()
_maps_lock = threading.Lock()


class Stamp(NamedTuple):
    """State of a source file: path below the data set's folder, size in bytes, modification time."""

    path: str
    size: int
    mtime_ns: int


class Entry(NamedTuple):
    """One prepared image: offset in the pixels, size, CRC-32 of its bytes, and its source files."""

    key: str
    offset: int
    height: int
    width: int
    crc: int
    files: tuple[Stamp, ...]

    @property
    def end(self) -> int:
        return self.offset + CHANNELS * self.height * self.width

    def line(self) -> bytes:
        """Return the entry's line of the index."""
        return json.dumps(self, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class Split:
    """Unit of preparation: one split with one class table at one size.

    Attributes:
        spec: name of the data set and resizing of whole images.
        split: name of the split.
        folder: folder of the data set.
        pairs: all pairs of the split in order.
        table: the class table.
        decoder: reads a pair.
        native_size: (height, width) of all images, None if they differ.
        described: description of a data set of the user's own, or empty.
    """

    spec: DataSpec
    split: str
    folder: Path
    pairs: tuple[Pair, ...]
    table: ClassTable
    decoder: Decoder
    native_size: Size | None = None
    described: str = ""

    @property
    def title(self) -> str:
        return f"{self.spec.name} {self.split}"

    @property
    def place(self) -> Path:
        """Folder of the prepared split, unique per data folder, split, class table and size."""
        how = self._how()
        words = [self.split, self.table.name, *(f"{key}-{value}" for key, value in how.items() if key == "scale")]
        name = f"{'-'.join(words)}-{digest([str(self.folder.resolve()), self.split, self.table.name, how], length=8)}"
        return prepared_root(self.spec.name) / "".join(char if char.isalnum() else "-" for char in name)

    def head(self) -> dict[str, Any]:
        """Return the first line of the index: whatever decides the pixels beside the files, and their folder."""
        table = [list(pair) for pair in self.table.values]
        return {
            "format": FORMAT,
            "made_by": digest([table, self._how(), self.described, self.decoder.code()], length=32),
            "folder": str(self.folder.resolve()),
            "split": self.split,
            "table": self.table.name,
            "scale": self.spec.scale,
        }

    def stamps(self, index: int) -> tuple[Stamp, ...]:
        """Return the current state of the source files of an image."""
        found = []
        for path in self.pairs[index].files:
            status = path.stat()
            name = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
            found.append(Stamp(name.as_posix(), status.st_size, status.st_mtime_ns))
        return tuple(found)

    def _how(self) -> dict[str, Any]:
        """Return the fields of the spec that change pixels: all but the choice of images."""
        choice = {
            "name",
            "source",
            "classes",
            "splits",
            "subset",
            "unlabelled_rest",
            "images",
            "labels_from",
            "labels_threshold",
        }
        return {key: value for key, value in self.spec.canonical().items() if key not in choice}


class Prepared:
    """A prepared split, mapped into memory: only what is accessed is read. Safe under threads and forks."""

    def __init__(self, pixels: Path, entries: Sequence[Entry]) -> None:
        self.pixels = pixels
        self._entries = entries
        self._map = _mapped(pixels)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Size of the pixels."""
        return self._entries[-1].end if self._entries else 0

    def read(self, index: int) -> Sample:
        """Return uint8 (H, W, 3) RGB and uint8 (H, W) train ids: read-only views of the file."""
        entry = self._entries[index]
        height, width, area = entry.height, entry.width, entry.height * entry.width
        pixels = np.frombuffer(self._map, np.uint8, CHANNELS * area, entry.offset)
        return pixels[: 3 * area].reshape(height, width, 3), pixels[3 * area :].reshape(height, width)

    def is_whole(self, index: int) -> bool:
        """Return True if the checksum of an image matches; reads all of its bytes."""
        entry = self._entries[index]
        return zlib.crc32(memoryview(self._map)[entry.offset : entry.end]) == entry.crc

    def broken(self, progress: Callable[[int, int], None] | None = None) -> list[str]:
        """Return the keys of the images whose checksums do not match."""
        found = []
        for index, entry in enumerate(self._entries):
            if not self.is_whole(index):
                found.append(entry.key)
            if progress is not None:
                progress(index + 1, len(self))
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"pixels": self.pixels, "_entries": self._entries}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["pixels"], state["_entries"])  # type: ignore[misc]  # another process maps the file again


def find(split: Split) -> tuple[Prepared | None, str]:
    """Return the prepared split if it is complete and up to date; else None and the reason, in a few words."""
    place = split.place
    try:
        data = (place / INDEX).read_bytes()
    except OSError:
        return None, "it is not prepared"
    head, entries, is_whole = parse(data)
    if not is_whole or head is None:
        return None, "its index is damaged"
    ident = head.pop("id")
    if head != split.head():
        return None, "its class table, its size or the code that decodes it has changed since it was prepared"
    if [entry.key for entry in entries] != [pair.key for pair in split.pairs]:
        return None, "images have come or gone since it was prepared"
    try:
        if any(entry.files != split.stamps(index) for index, entry in enumerate(entries)):
            return None, "its files have changed since it was prepared"
        prepared = Prepared(pixels_path(place, ident), entries)
    except (OSError, ValueError):  # a file is missing, or there is nothing to map
        return None, "a part of it is missing"
    trailer = ident.encode()
    if len(prepared._map) != prepared.bytes + len(trailer) or prepared._map[prepared.bytes :] != trailer:
        return None, "its pixels are damaged"
    if not prepared.is_whole(len(prepared) - 1):
        return None, "its pixels are damaged"
    return prepared, ""


def pixels_path(place: Path, ident: str) -> Path:
    """Return the file of pixels of an index; never rewritten under the same name."""
    return place / f"pixels-{ident}.bin"


def parse(data: bytes) -> tuple[dict[str, Any] | None, list[Entry], bool]:
    """Return head, entries, and completeness of an index or of the complete lines of a journal."""
    lines = data.split(b"\n")[:-1]
    try:
        head = json.loads(lines[0])
        if not isinstance(head, dict) or not isinstance(head.get("id"), str):
            return None, [], False
    except (ValueError, IndexError):
        return None, [], False
    entries: list[Entry] = []
    for number, line in enumerate(lines[1:], 2):
        try:
            values = json.loads(line)
            if isinstance(values, dict):
                before = b"\n".join(lines[: number - 1]) + b"\n"
                return head, entries, number == len(lines) and values == end_of(before)
            key, offset, height, width, crc, files = values
            entries.append(Entry(key, offset, height, width, crc, tuple(Stamp(*stamp) for stamp in files)))
        except (ValueError, TypeError):
            break
    return head, entries, False


def end_of(data: bytes) -> dict[str, str]:
    """Return the last line of an index, a digest of the lines before."""
    return {"sha256": hashlib.sha256(data).hexdigest()}


def prepared_root(name: str) -> Path:
    """Return the folder of all prepared splits of a data set."""
    return cache_root() / "prepared" / name


def _mapped(path: Path) -> mmap.mmap:
    with _maps_lock:
        found = _maps.get(path)
        if found is None:
            with path.open("rb") as file:
                found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            _maps[path] = found
        return found
