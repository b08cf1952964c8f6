"""Numberings of label maps, and the one that explains the values of some label files.

Label maps of one data set circulate in several numberings: its own values, train ids, either of them off by one (a
background that was subtracted or added once too often), or the display colours converted to grey. Each is a map from
value to train id; the one that leaves the fewest pixels and the fewest classes unexplained is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segbench.data.classes import IGNORE, ClassTable

_TOLERATED = 1e-3  # largest share of pixels that a reported numbering leaves unexplained
_EQUAL = 1e-12
_VOC_BORDER = (224, 224, 192)  # colour of the ignored border in palettes that follow PASCAL VOC


@dataclass(frozen=True)
class Encoding:
    """A numbering of label maps.

    Attributes:
        description: of the values, to follow "the labels look like".
        values: value to train id, or to 255 where it is ignored.
    """

    description: str
    values: dict[int, int]


def encodings(tables: Sequence[ClassTable]) -> list[Encoding]:
    """Return every numbering that the tables suggest, that of the first table first; each map once."""
    found: list[Encoding] = []
    tables = list(tables)
    for table in tables[:1] + [table for table in tables[1:] if not _extends(table, tables[0])]:
        count, named = table.num_classes, f"of class table {table.name}"
        ids = {number: number for number in range(count)}
        last = count - 1
        found += [
            Encoding(f"the values {named}", dict(table.values)),
            Encoding(f"train ids {named} (0..{last}, 255 ignored)", {**ids, IGNORE: IGNORE}),
            Encoding(f"train ids {named} with {count} for what is ignored", {**ids, count: IGNORE}),
            Encoding(f"train ids {named} raised by one (1..{count}, 0 ignored)", {0: IGNORE, **_raised(ids, 1)}),
            Encoding(f"train ids {named} raised by two (2..{count + 1}, 1 ignored)", {1: IGNORE, **_raised(ids, 2)}),
            Encoding(f"the values {named} raised by one", _raised(dict(table.values), 1)),
            Encoding(f"the values {named} lowered by one (0 became 255)", _raised(dict(table.values), -1)),
            Encoding(f"the display colours {named} turned into grey", _greys(table)),
        ]
    return [item for place, item in enumerate(found) if item.values not in [other.values for other in found[:place]]]


def explain(raw: np.ndarray, tables: Sequence[ClassTable]) -> tuple[Encoding, ...]:
    """Return the numberings that explain a histogram far better than the first table's own values do.

    Values alone cannot tell numberings apart that use the same ones, e.g. with the ignored value first or last.

    Args:
        raw: number of pixels with each value, int64 (256,).
        tables: the class tables that the label files may follow, the one in use first.

    Returns:
        All that explain it equally well; empty if the first table's values do about as well, or if nothing does.
    """
    if not raw.any():
        return ()
    own, *others = encodings(tables)
    misfits = [_misfit(raw, item) for item in others]
    best = min(misfits)
    if best >= _misfit(raw, own) / 2:
        return ()
    found = [item for item, misfit in zip(others, misfits, strict=True) if misfit <= best + _EQUAL]
    return tuple(item for item in found if _unexplained(raw, item) <= _TOLERATED)


def _misfit(raw: np.ndarray, encoding: Encoding) -> float:
    """Return the share of unexplained pixels plus the share of classes that do not occur; 0 is a perfect fit."""
    occurring = {train_id: False for train_id in encoding.values.values() if train_id != IGNORE}
    for value, train_id in encoding.values.items():
        if train_id != IGNORE and raw[value]:
            occurring[train_id] = True
    return _unexplained(raw, encoding) + 1 - sum(occurring.values()) / len(occurring)


def _unexplained(raw: np.ndarray, encoding: Encoding) -> float:
    return 1 - float(raw[list(encoding.values)].sum()) / float(raw.sum())


def _extends(table: ClassTable, first: ClassTable) -> bool:
    """Return True if a table only adds classes for values that the first ignores: both read the same label files."""
    values = dict(table.values)
    return all(values.get(value) == train_id for value, train_id in first.values if train_id != IGNORE)


def _raised(values: dict[int, int], by: int) -> dict[int, int]:
    return {(value + by) % 256: train_id for value, train_id in values.items()}


def _greys(table: ClassTable) -> dict[int, int]:
    """Return the luma of the display colours (ITU-R BT.601, section 2.5.1), which image libraries convert to grey."""
    ignored = {_luma((0, 0, 0)): IGNORE, _luma(_VOC_BORDER): IGNORE}
    return ignored | {_luma(entry.color): number for number, entry in enumerate(table.classes)}


def _luma(color: tuple[int, int, int]) -> int:
    return round(0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2])
