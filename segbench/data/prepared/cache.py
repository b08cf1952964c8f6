"""Prepared splits: every image decoded once, in one file that is mapped into memory. Free of torch.

``CACHE/prepared/NAME/SPLIT-TABLE-.../`` holds ``pixels-ID.bin``, the images (uint8 RGB) each followed by its train ids,
and ``index.jsonl``: a line on what was prepared, a line an image, and a last line with a digest of those before.

Half a file is never taken for a whole one: the index is written when all pixels are on the disk, and in one step. When
a prepared split is opened, the digest of its index, the length of its pixels, their last 32 bytes, which are the ID of
the index, and the checksum of the last image must hold; ``segbench data prepare`` compares every checksum. Nor is a
stale one taken: names, sizes and times of all source files, the class table's values and the code that decoded them
must be as they were.
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

FORMAT = 1  # raise when the layout changes; what was prepared before is then made anew
INDEX, JOURNAL = "index.jsonl", "index.part"  # the second is half of the first, while there is no more
CHANNELS = 4  # bytes a pixel: red, green, blue, train id

# One map a file however often it is opened; it goes when the last array on it has gone.
_maps: weakref.WeakValueDictionary[Path, mmap.mmap] = weakref.WeakValueDictionary()
_maps_lock = threading.Lock()


class Stamp(NamedTuple):
    """A source file as it was: path below the data set's folder, bytes, time of its last change."""

    path: str
    size: int
    mtime_ns: int


class Entry(NamedTuple):
    """One prepared image: where it begins in the pixels, its size, CRC-32 of its bytes, and what it came from."""

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
        """The entry's line of the index."""
        return json.dumps(self, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class Split:
    """What is prepared together: one split with one class table at one size.

    Attributes:
        spec: says the data set's name and what is done to whole images.
        split: name of the split.
        folder: of the data set.
        pairs: all pairs of the split in order.
        table: the class table.
        decoder: reads a pair.
        native_size: (height, width) of all images, None where they differ.
        described: what the user wrote of a data set of their own, or nothing.
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
        """Folder of what is prepared; another one for every data folder, split, class table and size."""
        how = self._how()
        words = [self.split, self.table.name, *(f"{key}-{value}" for key, value in how.items() if key == "scale")]
        name = f"{'-'.join(words)}-{digest([str(self.folder.resolve()), self.split, self.table.name, how], length=8)}"
        return prepared_root(self.spec.name) / "".join(char if char.isalnum() else "-" for char in name)

    def head(self) -> dict[str, Any]:
        """First line of the index: whatever decides the pixels beside the files, and where they came from."""
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
        """The source files of an image as they are now."""
        found = []
        for path in self.pairs[index].files:
            status = path.stat()
            name = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
            found.append(Stamp(name.as_posix(), status.st_size, status.st_mtime_ns))
        return tuple(found)

    def _how(self) -> dict[str, Any]:
        """What is done to whole images: everything that the spec says beside which images are taken."""
        taken = {"name", "source", "classes", "splits", "subset", "unlabelled_rest", "images"}
        return {key: value for key, value in self.spec.canonical().items() if key not in taken}


class Prepared:
    """A prepared split. Its arrays lie in the file: only what is looked at is read. Safe under threads and forks."""

    def __init__(self, pixels: Path, entries: Sequence[Entry]) -> None:
        self.pixels = pixels
        self._entries = entries
        self._map = _mapped(pixels)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Of the pixels."""
        return self._entries[-1].end if self._entries else 0

    def read(self, index: int) -> Sample:
        """uint8 (H, W, 3) RGB and uint8 (H, W) train ids: read-only views of the file."""
        entry = self._entries[index]
        height, width, area = entry.height, entry.width, entry.height * entry.width
        pixels = np.frombuffer(self._map, np.uint8, CHANNELS * area, entry.offset)
        return pixels[: 3 * area].reshape(height, width, 3), pixels[3 * area :].reshape(height, width)

    def is_whole(self, index: int) -> bool:
        """Whether the checksum of an image holds; reads all of its bytes."""
        entry = self._entries[index]
        return zlib.crc32(memoryview(self._map)[entry.offset : entry.end]) == entry.crc

    def broken(self, progress: Callable[[int, int], None] | None = None) -> list[str]:
        """Keys of the images whose checksums do not hold."""
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
        self.__init__(state["pixels"], state["_entries"])  # type: ignore[misc]  # another process maps the file anew


def find(split: Split) -> tuple[Prepared | None, str]:
    """The prepared split if it is whole and of these very files; else None and why not, in a few words."""
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
    except (OSError, ValueError):  # a file has gone, or there is nothing to map
        return None, "a part of it is missing"
    trailer = ident.encode()
    if len(prepared._map) != prepared.bytes + len(trailer) or prepared._map[prepared.bytes :] != trailer:
        return None, "its pixels are damaged"
    if not prepared.is_whole(len(prepared) - 1):
        return None, "its pixels are damaged"
    return prepared, ""


def pixels_path(place: Path, ident: str) -> Path:
    """The file of pixels that belongs to an index; never written again under the same name."""
    return place / f"pixels-{ident}.bin"


def parse(data: bytes) -> tuple[dict[str, Any] | None, list[Entry], bool]:
    """Head and entries of an index, or of the whole lines of half of one, and whether it is whole."""
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
    """Last line of an index, that closes what stands before it."""
    return {"sha256": hashlib.sha256(data).hexdigest()}


def prepared_root(name: str) -> Path:
    """Where everything lies that is prepared of a data set."""
    return cache_root() / "prepared" / name


def _mapped(path: Path) -> mmap.mmap:
    with _maps_lock:
        found = _maps.get(path)
        if found is None:
            with path.open("rb") as file:
                found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            _maps[path] = found
        return found
