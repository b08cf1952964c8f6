"""Where windows lie in an image."""

from types import EllipsisType
from typing import Literal

from segbench.core.spec import Size

Placing = Literal["border", "even"]
Place = tuple[EllipsisType, slice, slice]


def places(size: Size, window: Size, stride: Size, *, placing: Placing = "border") -> list[Place]:
    """Indices of all windows of an image (..., H, W), row by row.

    Args:
        size: (height, width) of the image.
        window: of a window, no larger.
        stride: most rows and columns from one window to the next.
        placing: as `starts` has it.
    """
    down, across = (starts(*side, placing=placing) for side in zip(size, window, stride, strict=True))
    return [(..., slice(top, top + window[0]), slice(left, left + window[1])) for top in down for left in across]


def starts(length: int, window: int, stride: int, *, placing: Placing = "border") -> list[int]:
    """Where windows begin along a side; as few as ``stride`` leaves no gap, the last of which ends at the border.

    Placed by the border, all but the last are ``stride`` apart. Placed evenly, as AAF's and SegSort's released scripts
    place them, they are as far from one another as can be, at the whole number below (``numpy.linspace`` of integers).
    """
    count = max(0, -(-(length - window) // stride)) + 1
    if placing == "even":
        return [index * (length - window) // max(1, count - 1) for index in range(count)]
    return [min(index * stride, length - window) for index in range(count)]
