"""Predictions of any program as label files: matched to the images of a split, read and decoded. Free of torch.

Files are PNGs of one channel or with a palette, which is read by index. Their values are train ids, or those of the
data set's own label files (Cityscapes: label ids).
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segbench.core.errors import MissingFault, UsageFault
from segbench.core.progress import Count, ignore

from . import images
from .classes import IGNORE, ClassTable
from .reader import Pair

Encoding = Literal["train-ids", "label-ids"]
ENCODINGS: tuple[Encoding, ...] = ("train-ids", "label-ids")

# Suffixes that programs append to the name of an image when they name its labels.
_ENDINGS = (
    "_leftImg8bit", "_gtFine", "_labelIds", "_labelTrainIds", "_trainIds", "_L",
    "_pred", "_prediction", "_seg", "_mask",
)  # fmt: skip
_SHOWN = 5
_WORKERS = 4


@dataclass(frozen=True)
class MatchedFiles:
    """One label file for every image of a split.

    Attributes:
        files: in the order of the split.
        extra: files that belong to no image, by their path in the folder.
    """

    files: tuple[Path, ...]
    extra: tuple[str, ...]


def match(folder: Path, pairs: Sequence[Pair]) -> MatchedFiles:
    """Find the label file of every image by its name, in any subfolder.

    Suffixes such as ``_leftImg8bit``, ``_gtFine_labelIds`` and ``_pred`` are ignored in both names. Where several
    images have one name, a file belongs to the image whose folder has the same name as the file's.

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
    missing = [f"{pair.key}: no file of its name" for index, pair in enumerate(pairs) if not found[index]]
    several = [
        f"{pairs[index].key}: {len(paths)} files, {_listed([str(path.relative_to(folder)) for path in paths], 3)}"
        for index, paths in sorted(found.items())
        if len(paths) > 1
    ]
    if missing or several:
        summary = f"{folder} has {len(files):,} PNG files for {len(pairs):,} images; each image needs one."
        raise MissingFault(summary, *_lines(several), *_lines(missing), next="segbench eval --help")
    return MatchedFiles(tuple(found[index][0] for index in range(len(pairs))), tuple(extra))


@dataclass(frozen=True)
class LabelValues:
    """Contents of label files, before their encoding is known.

    Attributes:
        values: all values that occur.
        digests: SHA-256 of each file's pixels, in hexadecimal.
    """

    values: frozenset[int]
    digests: tuple[str, ...]


def read_values(files: Sequence[Path], pairs: Sequence[Pair], *, progress: Count = ignore) -> LabelValues:
    """Read every file once, check its size against its image's, and collect its values.

    Args:
        files: a file for each pair.
        pairs: images and labels.
        progress: called with (files read, files in all).

    Raises:
        MissingFault: files are damaged, have colours or another size than their image; a line each.
    """
    import hashlib

    def read(file: Path, pair: Pair) -> tuple[str, frozenset[int], str]:
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
        occurring = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
        return "", frozenset(occurring.tolist()), hashlib.sha256(values.tobytes()).hexdigest()

    found = []
    with ThreadPoolExecutor(_WORKERS, "segbench-labels") as pool:
        for number, result in enumerate(pool.map(read, files, pairs), 1):
            found.append(result)
            progress(number, len(files))
    faults = [fault for fault, _, _ in found if fault]
    if faults:
        raise MissingFault(*_lines(faults), next="segbench eval --help")
    return LabelValues(frozenset().union(*(values for _, values, _ in found)), tuple(digest for _, _, digest in found))


@dataclass(frozen=True)
class LabelEncoding:
    """Mapping of the values of label files to train ids.

    Attributes:
        encoding: numbering of the values.
        table: the classes.
    """

    encoding: Encoding
    table: ClassTable

    @cached_property
    def lookup(self) -> NDArray[np.uint8]:
        """Train id of every value, uint8 (256,): num_classes if it is known but not scored, 255 if unknown."""
        return _lookup(self.encoding, self.table)


def label_encoding(values: frozenset[int], table: ClassTable, *, encoding: str | None, folder: Path) -> LabelEncoding:
    """Return the encoding that the user names, if the values fit it, else the only one that the values fit.

    Args:
        values: all values of the label files.
        table: the classes.
        encoding: ``train-ids`` or ``label-ids``; None to infer it.
        folder: of the label files, for messages.

    Raises:
        UsageFault: an unknown encoding, or the values fit both.
        MissingFault: values that fit none.
    """
    if encoding is not None:
        if encoding not in ENCODINGS:
            raise UsageFault(
                f"--encoding takes {' or '.join(ENCODINGS)}, got {encoding!r}.", next="segbench eval --help"
            )
        chosen: Encoding = "label-ids" if encoding == "label-ids" else "train-ids"
        unknown = _unknown(values, chosen, table)
        if unknown:
            raise MissingFault(
                f"{folder} has the values {unknown}, which are not {chosen} of {table.name}.", next=_AGAIN
            )
        return LabelEncoding(chosen, table)
    possible = [each for each in ENCODINGS if not _unknown(values, each, table)]
    if not possible:
        shown = _unknown(values, "train-ids", table)
        hint = " 255 has no meaning here: every pixel needs a class." if IGNORE in values else ""
        raise MissingFault(
            f"{folder} has the values {shown}, which are neither train ids nor label ids of {table.name}.{hint}",
            next=_AGAIN,
        )
    # Programs hardly ever predict a label id that is not scored: such a value is a train id.
    scored = [each for each in possible if all(_lookup(each, table)[value] < table.num_classes for value in values)]
    candidates = scored or possible
    if len({_lookup(each, table)[sorted(values)].tobytes() for each in candidates}) > 1:
        raise UsageFault(
            f"The values of {folder} ({_listed([str(value) for value in sorted(values)], 8)}) may be train ids or "
            f"label ids of {table.name}.",
            next=f"segbench eval --predictions {folder} --encoding train-ids, or label-ids",
        )
    return LabelEncoding(candidates[0], table)


_AGAIN = "segbench eval --help"


def _lookup(encoding: Encoding, table: ClassTable) -> NDArray[np.uint8]:
    lookup = np.full(256, IGNORE, np.uint8)
    if encoding == "train-ids":
        lookup[: table.num_classes] = np.arange(table.num_classes)
        return lookup
    for value, train_id in table.values:
        lookup[value] = table.num_classes if train_id == IGNORE else train_id
    lookup[IGNORE] = IGNORE  # the 255 of a label file is not a class that a program can predict
    return lookup


def _unknown(values: frozenset[int], encoding: Encoding, table: ClassTable) -> str:
    lookup = _lookup(encoding, table)
    return _listed([str(value) for value in sorted(values) if lookup[value] == IGNORE], 8)


def _plain(stem: str) -> str:
    """Return a file's name without the suffixes that programs append."""
    while ending := next((each for each in _ENDINGS if stem.endswith(each) and stem != each), ""):
        stem = stem.removesuffix(ending)
    return stem


def _lines(faults: list[str]) -> list[str]:
    lines = [f"{fault}." for fault in faults[:_SHOWN]]
    return lines + ([f"... and {len(faults) - _SHOWN:,} more like that."] if len(faults) > _SHOWN else [])


def _listed(words: list[str], most: int) -> str:
    return ", ".join(words if len(words) <= most else [*words[:most], "..."])
