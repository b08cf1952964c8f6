"""Sizes, and resizing of whole images with their labels. Half-pixel centres throughout. Free of torch."""

import cv2
import numpy as np

from segbench.core.spec import Size


def scaled(size: tuple[int, ...], factor: float) -> Size:
    """A size times a factor, rounded, at least one pixel."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resize(image: np.ndarray, label: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Resize a whole image (area mean when it shrinks, else bilinear) and its label (nearest) to (height, width)."""
    height, width = size
    if label.shape == (height, width):
        return image, label
    shrinks = height <= label.shape[0] and width <= label.shape[1]
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    rows = nearest(label.shape[0], height, start=0, count=height)
    columns = nearest(label.shape[1], width, start=0, count=width)
    return image, label[rows][:, columns]


def nearest(source: int, target: int, *, start: int, count: int) -> np.ndarray:
    """Source positions of ``count`` target positions from ``start`` on: ``floor((i + 0.5) * source / target)``.

    In whole numbers, so that no rounding decides a tie.
    """
    return (2 * np.arange(start, start + count) + 1) * source // (2 * target)
