"""Detection of layouts and encodings, by folders and by the values of a few label files."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import TypeVar

import numpy as np

from segbench.core.errors import MissingFault

from .images import BrokenFile

Found = TypeVar("Found")
_SAMPLE = 48  # label files read to detect an encoding: enough to contain the common classes


def find_folder(
    root: Path,
    names: Iterable[str],
    *,
    inside: Iterable[str] = (),
    holds: Callable[[Path], bool],
    itself: Callable[[Path], bool],
) -> Path | None:
    """Return the folder of a data set under the data root, None if there is none.

    Args:
        root: the data root.
        names: possible names of its folder.
        inside: paths below such a folder used by archives and other projects.
        holds: returns True if a folder of that name contains the data set.
        itself: the same for folders without the name, such as the root: must be specific to this data set.

    Returns:
        The first that contains it, else the first of that name.
    """
    named = [root / name for name in names]
    within = [folder / path for folder in named for path in inside]
    unnamed = [root, *(root / path for path in inside)]
    for folder in (*named, *within):
        if holds(folder):
            return folder
    for folder in unnamed:
        if itself(folder):
            return folder
    return next((folder for folder in named if folder.is_dir()), None)


def of_folder(find: Callable[[Path], Found]) -> Callable[[Path], Found]:
    """Cache the result of a function of a folder until files are added to it or removed."""

    @cache
    def known(folder: Path, changed: int) -> Found:
        return find(folder)

    @wraps(find)
    def ask(folder: Path) -> Found:
        return known(folder, folder.stat().st_mtime_ns if folder.exists() else 0)

    return ask


def spread(paths: Sequence[Path], count: int = _SAMPLE) -> list[Path]:
    """Return at most ``count`` of the paths, evenly spaced."""
    if len(paths) <= count:
        return list(paths)
    return [paths[round(place)] for place in np.linspace(0, len(paths) - 1, count)]


def values_in(paths: Sequence[Path], read: Callable[[Path], np.ndarray], *, count: int = _SAMPLE) -> frozenset[int]:
    """Return the values in at most ``count`` of the label files; unreadable ones are skipped.

    Args:
        paths: all label files.
        read: returns a file as uint8 (H, W).
        count: number of files to read.
    """
    seen = np.zeros(256, bool)
    for path in spread(paths, count):
        with contextlib.suppress(BrokenFile):
            seen |= np.bincount(read(path).ravel(), minlength=256) > 0
    return frozenset(np.flatnonzero(seen).tolist())


def decoded(path: Path, values: np.ndarray, *, lookup: dict[int, int], encoding: str) -> np.ndarray:
    """Convert the values of a file in another encoding to those of the class table.

    Args:
        path: file, for the message.
        values: uint8 (H, W) as stored in the file.
        lookup: value in the file to value in the class table.
        encoding: encoding of the folder, as in "but the labels beside it are ENCODING".

    Returns:
        uint8 (H, W).

    Raises:
        BrokenFile: a value is not valid in the encoding.
    """
    table = np.zeros(256, np.uint8)
    table[list(lookup)] = list(lookup.values())
    present = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
    if strange := [str(value) for value in present if value not in lookup]:
        raise BrokenFile(path, f"has label values {', '.join(strange)}, but the labels beside it are {encoding}")
    return table[values]


def read_list(path: Path) -> list[str]:
    """Return the first word of every line of a list file, sorted; empty if there is no such file.

    Raises:
        MissingFault: the file exists and cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise MissingFault(f"{path}: cannot be read ({error.strerror}).") from error
    return sorted({line.split()[0] for line in lines if line.strip()})
