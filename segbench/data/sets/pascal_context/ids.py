"""From the 459 ids of PASCAL-Context's original annotations to the values 0..59 of its masks."""

import numpy as np

# The ids of the 59 classes, which are in alphabetical order as their names are; a class's value is its place, from 1.
# Every other id is background. Source: mmsegmentation, HRNet and PyTorch-Encoding, which agree.
IDS_59 = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
HIGHEST = 459


def to_values(ids: np.ndarray) -> np.ndarray:
    """The value 0..59 of every pixel.

    Args:
        ids: whole numbers 0..459 of any shape, 0 where nothing is annotated.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: a number is none of the ids.
    """
    if ids.size and not (ids.min() >= 0 and ids.max() <= HIGHEST and np.array_equal(ids, ids.astype(np.int64))):
        raise ValueError(f"ids must be whole numbers from 0 to {HIGHEST}, got {ids.min()} to {ids.max()}")
    table = np.zeros(HIGHEST + 1, np.uint8)
    table[list(IDS_59)] = np.arange(1, len(IDS_59) + 1)
    return table[ids.astype(np.int64)]
