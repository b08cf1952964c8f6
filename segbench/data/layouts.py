"""What readers share to tell layouts and encodings apart: by folders, and by the values of a few label files."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import TypeVar

import numpy as np

from segbench.core.errors import MissingFault

from .images import BrokenFile

Found = TypeVar("Found")
_SAMPLE = 48  # label files that are read to tell an encoding: enough for the classes that every scene shows


def find_folder(
    root: Path,
    names: Iterable[str],
    *,
    inside: Iterable[str] = (),
    holds: Callable[[Path], bool],
    itself: Callable[[Path], bool],
) -> Path | None:
    """A data set's folder under the data root, None if there is none.

    Args:
        root: the data root.
        names: what its folder may be called.
        inside: paths below such a folder where archives and other projects put it.
        holds: whether a folder that has the name holds the data set.
        itself: whether a folder without the name does, the root for one: here only what no other data set has counts.

    Returns:
        The first that holds it, else the first that is at least named for it.
    """
    named = [root / name for name in names]
    within = [folder / part for folder in named for part in inside]
    unnamed = [root, *(root / part for part in inside)]
    for folder in (*named, *within):
        if holds(folder):
            return folder
    for folder in unnamed:
        if itself(folder):
            return folder
    return next((folder for folder in named if folder.is_dir()), None)


def of_folder(find: Callable[[Path], Found]) -> Callable[[Path], Found]:
    """Remember what was found out about a folder until a file comes to it or goes."""

    @cache
    def known(folder: Path, changed: int) -> Found:
        return find(folder)

    @wraps(find)
    def ask(folder: Path) -> Found:
        return known(folder, folder.stat().st_mtime_ns if folder.exists() else 0)

    return ask


def spread(paths: Sequence[Path], count: int = _SAMPLE) -> list[Path]:
    """At most ``count`` of the paths, evenly spread."""
    if len(paths) <= count:
        return list(paths)
    return [paths[round(place)] for place in np.linspace(0, len(paths) - 1, count)]


def values_in(paths: Sequence[Path], read: Callable[[Path], np.ndarray], *, count: int = _SAMPLE) -> frozenset[int]:
    """Which values occur in at most ``count`` of the label files; those that cannot be read are passed over.

    Args:
        paths: of all label files.
        read: gives a file as uint8 (H, W).
        count: files that are read.
    """
    seen = np.zeros(256, bool)
    for path in spread(paths, count):
        with contextlib.suppress(BrokenFile):
            seen |= np.bincount(read(path).ravel(), minlength=256) > 0
    return frozenset(np.flatnonzero(seen).tolist())


def decoded(path: Path, values: np.ndarray, *, lookup: dict[int, int], encoding: str) -> np.ndarray:
    """The values of the class table for those of a file that has another encoding.

    Args:
        path: of the file, for the message.
        values: uint8 (H, W) as they stand in the file.
        lookup: value in the file to value of the class table.
        encoding: what the files of its folder hold, as in "but these labels are ENCODING".

    Returns:
        uint8 (H, W).

    Raises:
        BrokenFile: a value that the encoding does not have.
    """
    table = np.zeros(256, np.uint8)
    table[list(lookup)] = list(lookup.values())
    present = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
    if strange := [str(value) for value in present if value not in lookup]:
        raise BrokenFile(path, f"has label values {', '.join(strange)}, but the labels beside it are {encoding}")
    return table[values]


def read_list(path: Path) -> list[str]:
    """The first word of every line of a list file, sorted; empty if there is no such file.

    Raises:
        MissingFault: the file is there and cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise MissingFault(f"{path}: cannot be read ({error.strerror}).") from error
    return sorted({line.split()[0] for line in lines if line.strip()})
