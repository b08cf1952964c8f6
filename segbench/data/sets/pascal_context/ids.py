"""Conversion of PASCAL-Context's 459 original ids to the values 0..59 of its masks (``ids.yaml``)."""

from pathlib import Path

import numpy as np
import yaml

_DATA = yaml.safe_load(Path(__file__).with_name("ids.yaml").read_text(encoding="utf-8"))
IDS_59: tuple[int, ...] = tuple(_DATA["ids"])
HIGHEST: int = _DATA["highest"]


def to_values(ids: np.ndarray) -> np.ndarray:
    """Return the value 0..59 of every pixel.

    Args:
        ids: integers 0..459 of any shape, 0 where nothing is annotated.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: a number is not an id.
    """
    if ids.size and not (ids.min() >= 0 and ids.max() <= HIGHEST and np.array_equal(ids, ids.astype(np.int64))):
        raise ValueError(f"ids must be whole numbers from 0 to {HIGHEST}, got {ids.min()} to {ids.max()}")
    table = np.zeros(HIGHEST + 1, np.uint8)
    table[list(IDS_59)] = np.arange(1, len(IDS_59) + 1)
    return table[ids.astype(np.int64)]
