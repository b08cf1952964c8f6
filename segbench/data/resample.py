"""Sizes, and resizing of images with their labels. Half-pixel centres throughout. Free of torch.

Two kinds of filters: OpenCV's, with a fixed number of pixels, and those of Pillow's ``resize``, which widen when an
image shrinks, so that every pixel counts (``filtered_window``).
"""

import math
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from segbench.core.spec import Size

Filter = Literal["bilinear", "bicubic", "lanczos"]
_FILTERS = {
    "bilinear": (Image.Resampling.BILINEAR, 1),
    "bicubic": (Image.Resampling.BICUBIC, 2),
    "lanczos": (Image.Resampling.LANCZOS, 3),
}


def scaled(size: tuple[int, ...], factor: float) -> Size:
    """Return a size times a factor, rounded, at least one pixel."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resize(
    image: np.ndarray, label: np.ndarray, size: Size, *, how: Literal["area", "bilinear", "lanczos"] = "area"
) -> tuple[np.ndarray, np.ndarray]:
    """Resize a whole image and its label (nearest pixel).

    Args:
        image: uint8 (H, W, 3).
        label: uint8 (H, W).
        size: (height, width) wanted.
        how: ``area`` averages areas if the image shrinks, else it is plain bilinear; the others are Pillow's filters.

    Returns:
        Both at the new size; the given arrays if they have it already.
    """
    height, width = size
    if label.shape == (height, width):
        return image, label
    if how == "area":
        shrinks = height <= label.shape[0] and width <= label.shape[1]
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    else:
        image = filtered_window(image, (height, width), (0, 0), (height, width), how=how)
    rows = nearest(label.shape[0], height, start=0, count=height)
    columns = nearest(label.shape[1], width, start=0, count=width)
    return image, label[rows][:, columns]


def nearest(source: int, target: int, *, start: int, count: int) -> np.ndarray:
    """Return the source positions ``floor((i + 0.5) * source / target)`` of ``count`` target ones from ``start``.

    In integers, so that no rounding decides a tie.
    """
    return (2 * np.arange(start, start + count) + 1) * source // (2 * target)


def filtered_window(image: np.ndarray, scaled: Size, corner: Size, size: Size, *, how: Filter) -> np.ndarray:
    """Return a window of an image after Pillow's ``resize``, reading only the pixels that it needs.

    With step ``s = old / new`` and ``t = max(s, 1)``, target pixel i takes source pixel j with weight
    ``f((j + 0.5 - (i + 0.5) s) / t)``, scaled to sum 1 over the image, where f is a triangle of half-width 1
    (bilinear), Keys' cubic with a = -0.5 (bicubic) or ``sinc(x) sinc(x / 3)`` for ``|x| < 3`` (lanczos).

    Args:
        image: uint8 (H, W, 3).
        scaled: size of the whole image after scaling.
        corner: top and left of the window in it.
        size: of the window.
        how: filter.

    Returns:
        uint8 (*size, 3) that owns its memory.
    """
    filter_, lobes = _FILTERS[how]
    (top, bottom, y0, y1), (left, right, x0, x1) = (
        _reached(image.shape[side], scaled[side], corner[side], size[side], lobes) for side in (0, 1)
    )
    pixels = Image.fromarray(np.ascontiguousarray(image[y0:y1, x0:x1]))
    box = (left - x0, top - y0, right - x0, bottom - y0)
    return np.array(pixels.resize((size[1], size[0]), filter_, box=box))


def _reached(source: int, target: int, start: int, count: int, lobes: int) -> tuple[float, float, int, int]:
    """Return begin and end of a window in the source, and first and end of the pixels that it needs."""
    step = source / target
    begin, end = start * step, min((start + count) * step, float(source))
    reach = lobes * max(step, 1.0)
    return begin, end, max(math.floor(begin - reach) - 1, 0), min(math.ceil(end + reach) + 1, source)
