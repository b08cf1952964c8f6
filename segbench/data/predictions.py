"""Label files that any program wrote for the images of a split: which belongs to which, and what its values mean.

Free of torch. Files are PNGs of one channel or with a palette, which is read by index. Their values are train ids, or
those of the data set's own label files (Cityscapes: label ids).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segbench.core.errors import MissingFault, UsageFault

from . import images
from .classes import IGNORE, ClassTable
from .reader import Pair

Encoding = Literal["train-ids", "label-ids"]
ENCODINGS: tuple[Encoding, ...] = ("train-ids", "label-ids")

# What programs append to the name of an image when they name its labels.
_ENDINGS = (
    "_leftImg8bit", "_gtFine", "_labelIds", "_labelTrainIds", "_trainIds", "_L",
    "_pred", "_prediction", "_seg", "_mask",
)  # fmt: skip
_SHOWN = 5
_WORKERS = 4


@dataclass(frozen=True)
class Matched:
    """One label file for every image of a split.

    Attributes:
        files: in the order of the split.
        extra: files that belong to no image, by their path in the folder.
    """

    files: tuple[Path, ...]
    extra: tuple[str, ...]


def match(folder: Path, pairs: Sequence[Pair]) -> Matched:
    """Find the label file of every image by its name, whatever folder it lies in.

    Endings such as ``_leftImg8bit``, ``_gtFine_labelIds`` and ``_pred`` may stand behind the name, on either side.
    Where several images have one name, a file belongs to the one whose folder has the name of its own.

    Raises:
        MissingFault: no such folder, no PNG in it, an image without a file or with several; a line each.
    """
    if not folder.is_dir():
        raise MissingFault(f"There is no folder {folder}.", next="segbench eval --help")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() == ".png" and path.is_file() and not path.name.startswith(".")
    )
    if not files:
        raise MissingFault(f"{folder} holds no PNG files.", next="segbench eval --help")
    named: dict[str, list[int]] = defaultdict(list)
    for index, pair in enumerate(pairs):
        for name in {_plain(path.stem) for path in (pair.image, pair.label) if path is not None}:
            named[name].append(index)
    found: dict[int, list[Path]] = defaultdict(list)
    extra = []
    for path in files:
        candidates = named.get(_plain(path.stem), [])
        if len(candidates) > 1:
            candidates = [index for index in candidates if pairs[index].image.parent.name == path.parent.name]
        for index in candidates:
            found[index].append(path)
        if not candidates:
            extra.append(str(path.relative_to(folder)))
    lacking = [f"{pair.key}: no file of its name" for index, pair in enumerate(pairs) if not found[index]]
    several = [
        f"{pairs[index].key}: {len(paths)} files, {_listed([str(path.relative_to(folder)) for path in paths], 3)}"
        for index, paths in sorted(found.items())
        if len(paths) > 1
    ]
    if lacking or several:
        said = [f"{folder} has {len(files):,} PNG files for {len(pairs):,} images; one for each is wanted."]
        raise MissingFault(*said, *_lines(several), *_lines(lacking), next="segbench eval --help")
    return Matched(tuple(found[index][0] for index in range(len(pairs))), tuple(extra))


@dataclass(frozen=True)
class Surveyed:
    """What occurs in label files, before it is known what it means.

    Attributes:
        values: all values that occur.
        digests: SHA-256 of each file's pixels, in hexadecimal.
    """

    values: frozenset[int]
    digests: tuple[str, ...]


def survey(files: Sequence[Path], pairs: Sequence[Pair], *, progress: Callable[[int], None]) -> Surveyed:
    """Read every file once: its size must be its image's, its values are gathered.

    Args:
        files: a file for each pair.
        pairs: images and labels.
        progress: called with how many were read.

    Raises:
        MissingFault: files that are damaged, have colours or another size than their image; a line each.
    """
    import hashlib

    def look(file: Path, pair: Pair) -> tuple[str, frozenset[int], str]:
        try:
            values = images.read_indices(file)
            with Image.open(pair.image) as image:  # only the header is read
                size = (image.height, image.width)
        except images.BrokenFile as error:
            return f"{file}: {error.reason}", frozenset(), ""
        except OSError as error:
            return f"{pair.image}: is no image ({error})", frozenset(), ""
        if values.shape != size:
            return "{}: is {}x{} but its image {}x{}".format(file, *values.shape, *size), frozenset(), ""
        there = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
        return "", frozenset(there.tolist()), hashlib.sha256(values.tobytes()).hexdigest()

    found = []
    with ThreadPoolExecutor(_WORKERS, "segbench-labels") as pool:
        for number, seen in enumerate(pool.map(look, files, pairs), 1):
            found.append(seen)
            progress(number)
    faults = [fault for fault, _, _ in found if fault]
    if faults:
        raise MissingFault(*_lines(faults), next="segbench eval --help")
    return Surveyed(frozenset().union(*(values for _, values, _ in found)), tuple(digest for _, _, digest in found))


@dataclass(frozen=True)
class Meaning:
    """What the values of label files mean.

    Attributes:
        encoding: whose values they are.
        table: the classes.
    """

    encoding: Encoding
    table: ClassTable

    @cached_property
    def lookup(self) -> NDArray[np.uint8]:
        """(256,) value to train id; C for what is known but not scored, 255 for what is unknown."""
        return _lookup(self.encoding, self.table)


def meaning(values: frozenset[int], table: ClassTable, *, encoding: str | None, folder: Path) -> Meaning:
    """Tell train ids from the values of label files, or prove what the user says.

    Raises:
        UsageFault: an unknown encoding, or the values do not tell.
        MissingFault: values that mean nothing.
    """
    if encoding is not None:
        if encoding not in ENCODINGS:
            raise UsageFault(
                f"--encoding takes {' or '.join(ENCODINGS)}, got {encoding!r}.", next="segbench eval --help"
            )
        chosen: Encoding = "label-ids" if encoding == "label-ids" else "train-ids"
        strange = _strange(values, chosen, table)
        if strange:
            raise MissingFault(
                f"{folder} has the values {strange}, which are no {chosen} of {table.name}.", next=_AGAIN
            )
        return Meaning(chosen, table)
    possible = [each for each in ENCODINGS if not _strange(values, each, table)]
    if not possible:
        shown = _strange(values, "train-ids", table)
        hint = " 255 means nothing here: every pixel needs a class." if IGNORE in values else ""
        raise MissingFault(
            f"{folder} has the values {shown}, which are neither train ids nor label ids of {table.name}.{hint}",
            next=_AGAIN,
        )
    # A value that label files keep for what is not scored is hardly ever predicted: it is a train id.
    scored = [each for each in possible if all(_lookup(each, table)[value] < table.num_classes for value in values)]
    likely = scored or possible
    if len({_lookup(each, table)[sorted(values)].tobytes() for each in likely}) > 1:
        raise UsageFault(
            f"The values of {folder} ({_listed([str(value) for value in sorted(values)], 8)}) may be train ids or "
            f"label ids of {table.name}.",
            next=f"segbench eval --predictions {folder} --encoding train-ids, or label-ids",
        )
    return Meaning(likely[0], table)


_AGAIN = "segbench eval --help"


def _lookup(encoding: Encoding, table: ClassTable) -> NDArray[np.uint8]:
    lookup = np.full(256, IGNORE, np.uint8)
    if encoding == "train-ids":
        lookup[: table.num_classes] = np.arange(table.num_classes)
        return lookup
    for value, train_id in table.values:
        lookup[value] = table.num_classes if train_id == IGNORE else train_id
    lookup[IGNORE] = IGNORE  # a label file's 255 is no class that could be predicted
    return lookup


def _strange(values: frozenset[int], encoding: Encoding, table: ClassTable) -> str:
    lookup = _lookup(encoding, table)
    return _listed([str(value) for value in sorted(values) if lookup[value] == IGNORE], 8)


def _plain(stem: str) -> str:
    """A file's name without what programs append."""
    while ending := next((each for each in _ENDINGS if stem.endswith(each) and stem != each), ""):
        stem = stem.removesuffix(ending)
    return stem


def _lines(faults: list[str]) -> list[str]:
    shown = [f"{fault}." for fault in faults[:_SHOWN]]
    return shown + ([f"... and {len(faults) - _SHOWN:,} more like that."] if len(faults) > _SHOWN else [])


def _listed(words: list[str], most: int) -> str:
    return ", ".join(words if len(words) <= most else [*words[:most], "..."])
