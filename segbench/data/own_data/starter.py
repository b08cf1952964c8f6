"""A first ``dataset.yaml`` for a user's own folders: all but the names of the classes is filled in."""

import json
import os
import re
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np

from segbench.core.errors import InvalidFault, MissingFault
from segbench.data import images
from segbench.data.classes import IGNORE
from segbench.data.images import BrokenFile

from .description import MOST_CLASSES

_SAMPLE = 50  # label files that are read, spread over all
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_SPLIT = "{split}"
_USUAL = ("train", "val", "test")  # the order of splits


def starter(name: str, home: Path, pictures: Path, labels: Path) -> str:
    """Return the text of a ``dataset.yaml``.

    Args:
        name: of the data set.
        home: folder of the file to be written.
        pictures: folder of the images, or of one folder per split; ``{split}`` may mark the place of their names.
        labels: likewise of the label files.

    Raises:
        MissingFault: no pairs are found, or a label file is broken.
        InvalidFault: the labels have more colours than the largest number of classes.
    """
    pictures, labels, splits = _splits(pictures.resolve(), labels.resolve())
    ours = [each for split in splits or [""] for each in _names(_at(pictures, split))]
    theirs = [_at(labels, split) / each for split in splits or [""] for each in _names(_at(labels, split))]
    picture_end, label_end = _endings(ours, [path.name for path in theirs])
    paths = [path for path in theirs if path.name.endswith(label_end)]
    sample = paths[:: -(-len(paths) // _SAMPLE)]
    mode, codes = _codes(sample)
    base = _before(Path(os.path.commonpath([pictures, labels])))
    lines = [
        f"# {name}, from {len(sample):,} of {len(paths):,} label files. Give the classes their names, then type",
        f"#   segbench data verify {name}",
        "schema: 1",
        f"title: {json.dumps(name)}",
        "# licence: one sentence",
        "# source: a paper or an address",
        *([f"folder: {json.dumps(str(base), ensure_ascii=False)}"] if base != home.resolve() else []),
        f"images: {_pattern(base, pictures, picture_end)}",
        f"labels: {_pattern(base, labels, label_end)}",
        f"label_mode: {mode}",
        "# size: [height, width]      if it is the same for all images",
        "classes:                     # in the order of their train ids",
        *_classes(mode, codes),
        *_ignored(mode, codes),
        f"splits: [{', '.join(splits or ['train'])}]        # a split may have a list: {{train: {{list: train.txt}}}}",
    ]
    return "\n".join(lines) + "\n"


def _splits(pictures: Path, labels: Path) -> tuple[Path, Path, list[str]]:
    """Return both folders, with ``{split}`` if there are splits, and the splits of both, the usual ones first."""
    for folder in (pictures, labels):
        if not _before(folder).is_dir():
            raise MissingFault(f"{_before(folder)} is not a folder.", next="segbench data init --help")
    ours, theirs = (folder if _SPLIT in folder.parts else folder / _SPLIT for folder in (pictures, labels))
    names = [item.name for item in _before(ours).iterdir()]
    found = [name for name in names if _names(_at(ours, name)) and _at(theirs, name).is_dir()]
    found.sort(key=lambda split: (_USUAL.index(split) if split in _USUAL else len(_USUAL), split))
    return (ours, theirs, found) if found else (pictures, labels, [])


def _before(folder: Path) -> Path:
    """Return the path before ``{split}``, or all of it."""
    return Path(*folder.parts[: folder.parts.index(_SPLIT)]) if _SPLIT in folder.parts else folder


def _at(folder: Path, split: str) -> Path:
    return Path(*(split if name == _SPLIT else name for name in folder.parts))


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        item.name for item in folder.iterdir() if item.suffix.lower() in _PICTURES and not item.name.startswith(".")
    )


def _endings(pictures: list[str], labels: list[str]) -> tuple[str, str]:
    """Return the suffixes behind the common names of images and labels: of those with the most pairs the shortest."""

    def paired(ends: tuple[str, str]) -> tuple[int, int]:
        ours, theirs = (
            {name.removesuffix(end) for name in names if name.endswith(end)}
            for names, end in zip((pictures, labels), ends, strict=True)
        )
        return len(ours & theirs), -len("".join(ends))

    best = max(product(_candidates(pictures), _candidates(labels)), key=paired, default=("", ""))
    if paired(best)[0] == 0:
        first = [names[0] if names else "nothing" for names in (pictures, labels)]
        fault = f"No image and label have the same name: there are {first[0]} and {first[1]}, for example."
        raise MissingFault(fault, next="segbench data init --help")
    return best


def _candidates(names: list[str]) -> list[str]:
    """Return the most common suffix, and longer ones that all of its files share, from a separator on."""
    if not names:
        return []
    usual = Counter(Path(name).suffix for name in names).most_common(1)[0][0]
    alike = [name for name in names if name.endswith(usual)]
    shared = alike[0]
    while not all(name.endswith(shared) for name in alike):
        shared = shared[1:]
    return [shared[match.start() :] for match in re.finditer(r"[._-]", shared)]


def _pattern(base: Path, folder: Path, end: str) -> str:
    return json.dumps((folder.relative_to(base) / f"*{end}").as_posix(), ensure_ascii=False)


def _codes(paths: list[Path]) -> tuple[str, list[tuple[int, ...]]]:
    """Return ``indices`` or ``colours``, and those in the label files, ascending."""
    try:
        images.read_indices(paths[0])
        mode = "indices"
    except BrokenFile:  # if it is damaged, reading it as an image raises
        mode = "colours"
    found: set[int] = set()
    for path in paths:
        array = images.read_indices(path)[..., None] if mode == "indices" else images.read_image(path)
        packed = np.zeros(array.shape[:2], np.uint32)
        for channel in range(array.shape[2]):
            packed = packed << 8 | array[..., channel]
        found |= set(np.unique(packed).tolist())
        if len(found) > MOST_CLASSES + 2:
            fault = f"{path} and those before it have more than {MOST_CLASSES} colours: these are not label files."
            raise InvalidFault(fault, next="segbench data init --help")
    shifts = (0,) if mode == "indices" else (16, 8, 0)
    return mode, [tuple(code >> shift & 255 for shift in shifts) for code in sorted(found)]


def _classes(mode: str, codes: list[tuple[int, ...]]) -> list[str]:
    if mode == "colours":
        return [f"  - {{name: class {number}, colour: {list(code)}}}" for number, code in enumerate(codes)]
    return [f"  - {{name: class {value}, value: {value}}}" for (value,) in codes if value != IGNORE]


def _ignored(mode: str, codes: list[tuple[int, ...]]) -> list[str]:
    """Return the line of values that are not scored: 255, the only one that is certain."""
    if mode == "colours":
        return ["# ignore: [[0, 0, 0]]        colours that are not scored, to be removed from the classes"]
    return [f"ignore: [{IGNORE if (IGNORE,) in codes else ''}]                # values that are not scored"]
