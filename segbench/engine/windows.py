"""Placing of windows in an image."""

from types import EllipsisType
from typing import Literal

from segbench.core.spec import Size

Placing = Literal["border", "even"]
Place = tuple[EllipsisType, slice, slice]


def places(size: Size, window: Size, stride: Size, *, placing: Placing = "border") -> list[Place]:
    """Return the indices of all windows of an image (..., H, W), row by row.

    Args:
        size: (height, width) of the image.
        window: (height, width) of a window, no larger.
        stride: largest distance in rows and columns between neighbouring windows.
        placing: see `starts`.
    """
    down, across = (starts(*side, placing=placing) for side in zip(size, window, stride, strict=True))
    return [(..., slice(top, top + window[0]), slice(left, left + window[1])) for top in down for left in across]


def starts(length: int, window: int, stride: int, *, placing: Placing = "border") -> list[int]:
    """Return where the fewest windows at most ``stride`` apart begin along a side; the last one ends at the border.

    With ``border`` all but the last are ``stride`` apart. With ``even``, as in the released scripts of AAF and SegSort,
    they are spread evenly and rounded down (``numpy.linspace`` of integers).
    """
    count = max(0, -(-(length - window) // stride)) + 1
    if placing == "even":
        return [index * (length - window) // max(1, count - 1) for index in range(count)]
    return [min(index * stride, length - window) for index in range(count)]
