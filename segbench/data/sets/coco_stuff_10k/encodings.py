"""Encodings of COCO-Stuff 10k label files, and their conversion to the ids of version 1.1.

Public code uses the ids 0..182 themselves; 0..171, the ids in use numbered consecutively with 0 for unlabelled
(mmsegmentation's converter); train ids 0..170 with 255 for unlabelled; and ids minus one, for models with 182 outputs
and the set of 164k images.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

from segbench.data.classes import IGNORE, class_table

Encoding = Literal["ids", "counted", "train ids", "ids less one", "mixed"]

SAYS: dict[Encoding, str] = {
    "ids": "the ids 0..182 of version 1.1",
    "counted": "0..171, the ids that occur counted through",
    "train ids": "train ids 0..170 with 255 for unlabelled",
    "ids less one": (
        "ids less one with 255 for unlabelled, as models with 182 outputs and the set of 164k images have them: "
        "neither is comparable with the 171 classes of COCO-Stuff 10k"
    ),
    "mixed": "of several encodings at once",
}
REFUSED: frozenset[Encoding] = frozenset({"ids less one", "mixed"})
_OLD_NAMES = 172  # of version 1.0; version 1.1 lists 182, without "unlabeled"


def tell(values: frozenset[int], *, default: Encoding) -> Encoding:
    """Return the encoding of label files with these values; ``default`` if they do not decide it.

    The classes of the highest ids (walls, windows, wood) are so frequent that files of ids exceed 171; and eleven ids
    are of classes that never occur, so only other encodings use them.
    """
    gaps = set(range(1, 183)) - set(_ids())
    if IGNORE in values:
        return "ids less one" if max(values - {IGNORE}, default=0) > 170 else "train ids"
    high, gapped = max(values, default=0) > 171, bool(values & gaps)
    if high and gapped:
        return "mixed"
    return "ids" if high else "counted" if gapped else default


def lookup(encoding: Encoding) -> dict[int, int]:
    """Return the id of version 1.1 for each value in the file."""
    if encoding == "counted":
        return dict(enumerate((0, *_ids())))
    if encoding == "train ids":
        return {IGNORE: 0, **dict(enumerate(_ids()))}
    return {value: value for value in (0, *_ids())}


def is_old(paths: Iterable[Path]) -> bool:
    """Return True if .mat files are of version 1.0, by the first of them that names its classes.

    Source: convertAnnotationsToVersion11.m of nightrome/cocostuff10k, which asserts 172 names before and makes 182.
    """
    from scipy.io import whosmat  # slow to import

    for path in paths:
        try:
            sizes = {name: size for name, size, _ in whosmat(path)}
        except Exception:  # scipy raises anything on damaged files, which are reported when they are read
            continue
        if "names" in sizes:
            return _OLD_NAMES in sizes["names"]
    return False


@cache
def _ids() -> tuple[int, ...]:
    """Return the 171 ids in use, in the order of their train ids."""
    return tuple(value for value, train_id in class_table("coco-stuff-10k").values if train_id != IGNORE)
