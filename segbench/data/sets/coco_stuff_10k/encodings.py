"""In which numbers a label file of COCO-Stuff 10k says what it says, and how they become the ids of version 1.1.

Met in public code: the ids 0..182 themselves; 0..171, where the ids that occur are counted through with 0 for
unlabelled (mmsegmentation's converter); train ids 0..170 with 255 for unlabelled; and ids less one, which belong to
models of 182 outputs and to the set of 164k images.
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
    """The encoding of label files in which these values occur; ``default`` where they do not tell.

    The classes of the highest ids (walls, windows, wood) are in so many pictures that files of ids reach above 171;
    and eleven ids are of classes that never occur, which only other encodings use.
    """
    gaps = set(range(1, 183)) - set(_ids())
    if IGNORE in values:
        return "ids less one" if max(values - {IGNORE}, default=0) > 170 else "train ids"
    high, gapped = max(values, default=0) > 171, bool(values & gaps)
    if high and gapped:
        return "mixed"
    return "ids" if high else "counted" if gapped else default


def lookup(encoding: Encoding) -> dict[int, int]:
    """Value in the file to id of version 1.1."""
    if encoding == "counted":
        return dict(enumerate((0, *_ids())))
    if encoding == "train ids":
        return {IGNORE: 0, **dict(enumerate(_ids()))}
    return {value: value for value in (0, *_ids())}


def is_old(paths: Iterable[Path]) -> bool:
    """Whether .mat files are of version 1.0, by the first of them that says how many classes it names.

    Source: convertAnnotationsToVersion11.m of nightrome/cocostuff10k, which asserts 172 names before and makes 182.
    """
    from scipy.io import whosmat  # slow to import

    for path in paths:
        try:
            sizes = {name: size for name, size, _ in whosmat(path)}
        except Exception:  # scipy raises whatever it stumbles over; a broken file is found when it is read
            continue
        if "names" in sizes:
            return _OLD_NAMES in sizes["names"]
    return False


@cache
def _ids() -> tuple[int, ...]:
    """The 171 ids that occur, in the order of their train ids."""
    return tuple(value for value, train_id in class_table("coco-stuff-10k").values if train_id != IGNORE)
