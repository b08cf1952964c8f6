"""Preparation of a split: decode once and keep, in the format of ``cache``. Free of torch.

One process works, others wait for it. A kill, a power cut or Ctrl-C leaves a journal, an index without its last line:
it is never used as an index, and the next try resumes after the last image whose checksum matches. A broken source file
or a full disk leaves nothing.
"""

import contextlib
import errno
import json
import os
import uuid
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import Timeout

from segbench.core import atomic
from segbench.core.errors import Interrupted, MissingFault, RunFault
from segbench.core.progress import SILENT, Observer

from . import cache
from .cache import INDEX, JOURNAL, Entry, Prepared, Split, Stamp
from .space import Room, lock_of, room, sweep

_POLL_SECONDS = 0.2
_STREAMS = "the same command with --no-cache, which decodes every image whenever it is used"


class _Image(NamedTuple):
    image: np.ndarray
    label: np.ndarray
    crc: int
    files: tuple[Stamp, ...]


def prepare(split: Split, *, redo: bool = False, workers: int | None = None, observer: Observer = SILENT) -> Prepared:
    """Return the prepared split, preparing it if necessary.

    Args:
        split: split to prepare.
        redo: prepare again even if it is there.
        workers: decoding threads; None for one per processor, at most 8.
        observer: told of progress.

    Raises:
        MissingFault: a source file is missing or broken, or changed meanwhile; nothing is kept.
        RunFault: there is no room, or the disk cannot be written; nothing is kept.
        Interrupted: the observer requested a stop; what was decoded is kept.
    """
    found, why = cache.find(split)
    if found is not None and not redo:  # nothing is written, so a read-only cache will do
        return found
    with _locked(split, observer):
        found, why = cache.find(split)  # again, as another process may have prepared it meanwhile
        if found is not None and not redo:
            return found
        if (split.place / INDEX).exists() and not redo:
            observer.note(f"{split.title} is prepared again: {why}.")
        with _disk(split):
            (split.place / INDEX).unlink(missing_ok=True)  # first, as its pixels are deleted next
        try:
            with _disk(split):
                _make(split, fresh=redo, workers=workers or min(8, os.cpu_count() or 1), observer=observer)
        except (MissingFault, RunFault):
            _clear(split.place)
            raise
        found, why = cache.find(split)
        if found is None:
            raise RunFault(f"{split.title} cannot be used as it was prepared: {why}.", next="the same command again")
        sweep(split, found.pixels)
        return found


def _make(split: Split, *, fresh: bool, workers: int, observer: Observer) -> None:
    """Write pixels and index, resuming from a journal unless ``fresh``."""
    head, entries = (None, []) if fresh else _resumable(split)
    if head is None:
        _clear(split.place)
        head = {**split.head(), "id": uuid.uuid4().hex}
    ident = str(head["id"])
    pixels, journal = cache.pixels_path(split.place, ident), split.place / JOURNAL
    offset = entries[-1].end if entries else 0
    needed, free = room(split)
    if not Room(needed - offset, free).suffices:
        raise RunFault(
            f"There is no room to prepare {split.title} in {split.place}: {Room(needed - offset, free)}.",
            next=f"set SEGBENCH_CACHE to a folder with more room, or {_STREAMS}",
        )
    if entries:
        observer.note(f"{split.title}: {len(entries):,} of {len(split.pairs):,} images were prepared before.")
    lines = json.dumps(head).encode() + b"\n" + b"".join(entry.line() for entry in entries)
    journal.write_bytes(lines)  # without a truncated last line
    count = observer.counter(f"{split.title}: prepare", "images")
    images = _decoded(split, range(len(entries), len(split.pairs)), workers)
    with pixels.open("ab") as data, journal.open("ab") as log, contextlib.closing(images):
        data.truncate(offset)
        for index, made in images:
            height, width = made.label.shape
            entry = Entry(split.pairs[index].key, offset, height, width, made.crc, made.files)
            data.write(made.image.data)
            data.write(made.label.data)
            data.flush()
            log.write(entry.line())  # after its pixels, so that a line implies that they are there
            log.flush()
            offset = entry.end
            count(index + 1, len(split.pairs))
            if observer.stop_requested():
                raise Interrupted(
                    f"Stopped while preparing {split.title}; {index + 1:,} images of it are kept.",
                    next="the same command again",
                )
        data.write(ident.encode())
        data.flush()
        os.fsync(data.fileno())
    lines = journal.read_bytes()
    atomic.write_bytes(split.place / INDEX, lines + json.dumps(cache.end_of(lines)).encode() + b"\n")
    journal.unlink()


def _decoded(split: Split, indices: range, workers: int) -> Generator[tuple[int, _Image], None, None]:
    """Yield images in order, decoded by several threads with a few prefetched."""

    def make(index: int) -> _Image:
        pair = split.pairs[index]
        try:
            before = split.stamps(index)
            image, label = (np.ascontiguousarray(array) for array in split.decoder.read(pair))
            changed = before != split.stamps(index)
        except FileNotFoundError as error:
            raise MissingFault(f"{error.filename}: is missing", next=_verify(split)) from None
        if changed:
            raise MissingFault(f"{pair.image}: it or its label changed while it was read", next=_verify(split))
        return _Image(image, label, zlib.crc32(label.data, zlib.crc32(image.data)), before)

    ahead: deque[tuple[int, Future[_Image]]] = deque()
    with ThreadPoolExecutor(workers, "segbench-prepare") as pool:
        try:
            for index in indices:
                ahead.append((index, pool.submit(make, index)))
                if len(ahead) > 2 * workers:
                    first, future = ahead.popleft()
                    yield first, future.result()
            while ahead:
                first, future = ahead.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _resumable(split: Split) -> tuple[dict[str, object] | None, list[Entry]]:
    """Return head and entries of an interrupted try, up to the first image that is no longer valid."""
    try:
        head, entries, _ = cache.parse((split.place / JOURNAL).read_bytes())
        if head is None or {key: value for key, value in head.items() if key != "id"} != split.head():
            return None, []
        good, offset = 0, 0
        with cache.pixels_path(split.place, str(head["id"])).open("rb") as pixels:
            for index, (entry, pair) in enumerate(zip(entries, split.pairs, strict=False)):
                expected = (pair.key, offset, split.stamps(index))
                if (entry.key, entry.offset, entry.files) != expected:
                    break
                if zlib.crc32(pixels.read(entry.end - offset)) != entry.crc:
                    break
                good, offset = index + 1, entry.end
    except (OSError, ValueError):
        return None, []
    return (head, entries[:good]) if good else (None, [])


@contextlib.contextmanager
def _locked(split: Split, observer: Observer) -> Iterator[None]:
    """Hold the lock of a split; the kernel releases it when a process dies, however it dies."""
    lock = lock_of(split.place)
    with _disk(split):
        split.place.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            observer.note(f"Another process is preparing {split.title}; waiting for it.")
            while not lock.is_locked:
                if observer.stop_requested():
                    fault = f"Stopped while waiting for {split.title}."
                    raise Interrupted(fault, next="the same command again") from None
                with contextlib.suppress(Timeout):
                    lock.acquire(timeout=_POLL_SECONDS)
            split.place.mkdir(exist_ok=True)  # its holder may have removed it all
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _disk(split: Split) -> Iterator[None]:
    """Turn disk errors into a RunFault."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full; the part that was written has been removed" if full else error.strerror
        raise RunFault(
            f"{split.title} cannot be prepared in {split.place}: {reason}.",
            next=f"set SEGBENCH_CACHE to a folder with more room, or {_STREAMS}" if full else _STREAMS,
        ) from error


def _clear(place: Path) -> None:
    """Remove the journal, and pixels without an index."""
    with contextlib.suppress(OSError):
        (place / JOURNAL).unlink(missing_ok=True)
        for path in place.glob("pixels-*.bin"):
            path.unlink(missing_ok=True)


def _verify(split: Split) -> str:
    return f"segbench data verify {split.spec.name}"
