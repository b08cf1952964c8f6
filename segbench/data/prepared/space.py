"""Disk space of prepared splits: needed, free, and reclaimable. Free of torch."""

import contextlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from segbench.core.errors import Busy, RunFault
from segbench.core.spec import Size

from . import cache
from .cache import CHANNELS, INDEX, JOURNAL, Split
from .headers import header_size

SPARE_BYTES = 2 << 30  # left free for other files, above all checkpoints


class Room(NamedTuple):
    """Bytes that a prepared split needs, and bytes that are free in its place."""

    needed: int
    free: int

    @property
    def suffices(self) -> bool:
        return self.needed + SPARE_BYTES <= self.free

    def __str__(self) -> str:
        return f"{self.needed / 1e9:.1f} GB are needed, {max(0, self.free - SPARE_BYTES) / 1e9:.1f} GB can be spared"


def room(split: Split) -> Room:
    """Return the space that preparing a split needs, by its known size or image headers, and the free space."""
    areas: list[int | None]
    if split.native_size is not None:
        areas = [_area(split, split.native_size)] * len(split.pairs)
    else:
        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(lambda pair: header_size(pair.image), split.pairs))
        areas = [_area(split, size) if size else None for size in sizes]
    known = [area for area in areas if area is not None]
    typical = sum(known) // len(known) if known else 0
    free = shutil.disk_usage(_existing(split.place)).free
    return Room(CHANNELS * sum(typical if area is None else area for area in areas), free)


def remove(name: str, splits: tuple[str, ...] = ()) -> int:
    """Delete the prepared splits of a data set, or some of them, and return the number of bytes freed.

    Processes that have one open can continue: the system keeps the file until they close it.

    Raises:
        Busy: another process is preparing one of them, which is left alone.
        RunFault: it cannot be deleted.
    """
    freed = 0
    for place in _places(name):
        if splits and _split_of(place) not in splits:
            continue
        lock = lock_of(place)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            fault = f"Another process is preparing {name} in {place}; what it makes is left alone."
            raise Busy(fault, next="wait for it, then type the same command again") from None
        try:
            freed += sum(file.stat().st_size for file in place.iterdir() if file.is_file())
            shutil.rmtree(place)
        except OSError as error:
            raise RunFault(f"{error.filename} cannot be deleted: {error.strerror}.", next=f"rm -r {place}") from error
        finally:
            lock.release()
    return freed


def sweep(split: Split, pixels: Path) -> None:
    """Remove remains of earlier tries, and the same split prepared from a folder that no longer exists."""
    with contextlib.suppress(OSError):
        for path in (*split.place.glob(f".{INDEX}.*"), *split.place.glob("pixels-*.bin")):
            if path != pixels:
                path.unlink(missing_ok=True)
        for place in _places(split.spec.name):
            head, own = _head(place), split.head()
            same = head is not None and all(head.get(key) == own[key] for key in ("split", "table", "scale"))
            if head is not None and same and not Path(str(head["folder"])).exists():
                shutil.rmtree(place, ignore_errors=True)


def _places(name: str) -> list[Path]:
    root = cache.prepared_root(name)
    return sorted(place for place in root.iterdir() if place.is_dir()) if root.is_dir() else []


def _head(place: Path) -> dict[str, object] | None:
    """Return the first line of an index or journal."""
    for name in (INDEX, JOURNAL):
        with contextlib.suppress(OSError), (place / name).open("rb") as file:
            return cache.parse(file.readline())[0]
    return None


def _split_of(place: Path) -> object:
    return (_head(place) or {}).get("split")


def lock_of(place: Path) -> FileLock:
    """Return the lock of a prepared split, beside its folder so that it survives the folder."""
    return FileLock(place.with_name(f"{place.name}.lock"))


def _area(split: Split, size: Size) -> int:
    height, width = split.decoder.size(size)
    return height * width


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
