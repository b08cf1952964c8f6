"""An image and its label map, painted together through a pinhole camera."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

Color = tuple[float, float, float]

_SHIFT = 4  # sub-pixel bits of OpenCV's fixed-point coordinates
_NEAR = 0.4  # metres
_CIRCLE = np.stack([np.cos(np.arange(14) * np.pi / 7), np.sin(np.arange(14) * np.pi / 7)], axis=1)


@dataclass(frozen=True)
class Camera:
    """Pinhole camera above the road, looking along it. World: x right, y up from the road, z forward, metres."""

    focal: float
    center: float
    horizon: float
    height: float

    def project(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> np.ndarray:
        """Project world coordinates (broadcast against each other) to pixels (..., 2) as (column, row)."""
        scale = self.focal / np.maximum(z, _NEAR)
        column = self.center + scale * np.asarray(x)
        row = self.horizon + scale * (self.height - np.asarray(y))
        points = np.empty((*np.broadcast_shapes(column.shape, row.shape), 2))
        points[..., 0], points[..., 1] = column, row
        return points

    def pixels(self, metres: float, z: float) -> float:
        """Return the length in pixels of something upright at depth ``z``."""
        return self.focal * metres / max(z, _NEAR)


class Canvas:
    """Image and label map. A colour is RGB in 0..255; a label of None leaves the label map unchanged."""

    def __init__(self, height: int, width: int, *, label: int) -> None:
        self.height, self.width = height, width
        self.rgb = np.zeros((height, width, 3), np.uint8)
        self.labels = np.full((height, width), label, np.uint8)

    def fill(self, polygons: Iterable[np.ndarray] | np.ndarray, color: Color, label: int | None = None) -> None:
        """Fill polygons, each (K, 2) in pixels; one call, and one array (N, K, 2), for many of the same colour."""
        if isinstance(polygons, np.ndarray):
            points = list(_fixed(polygons))
        else:
            points = [_fixed(polygon) for polygon in polygons]
        if not points:
            return
        cv2.fillPoly(self.rgb, points, _clip(color), cv2.LINE_AA, _SHIFT)
        if label is not None:
            cv2.fillPoly(self.labels, points, label, cv2.LINE_8, _SHIFT)

    def blend(self, polygon: np.ndarray, color: Color, opacity: float) -> None:
        """Blend a colour over a polygon; labels stay."""
        left, top = np.floor(polygon.min(axis=0)).astype(int)
        right, bottom = np.ceil(polygon.max(axis=0)).astype(int) + 1
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, self.width), min(bottom, self.height)
        if left >= right or top >= bottom:
            return
        window = self.rgb[top:bottom, left:right]
        over = window.copy()
        cv2.fillPoly(over, [_fixed(polygon - (left, top))], _clip(color), cv2.LINE_AA, _SHIFT)
        self.rgb[top:bottom, left:right] = cv2.addWeighted(over, opacity, window, 1 - opacity, 0)

    def disc(self, center: np.ndarray, radii: tuple[float, float], color: Color, label: int | None = None) -> None:
        """Fill an axis-aligned ellipse."""
        self.fill([ellipse(center, radii)], color, label)

    def line(self, begin: np.ndarray, end: np.ndarray, width: float, color: Color, label: int | None = None) -> None:
        """Draw a straight bar ``width`` pixels thick; its label is at least one pixel thick."""
        self.fill([bar(begin, end, width)], color, None)
        if label is not None:
            points = [_fixed(bar(begin, end, max(width, 1.0) - 0.9))]
            cv2.fillPoly(self.labels, points, label, cv2.LINE_8, _SHIFT)

    def relabel(self, polygon: np.ndarray, label: int) -> None:
        """Fill a polygon in the label map only."""
        cv2.fillPoly(self.labels, [_fixed(polygon)], label, cv2.LINE_8, _SHIFT)

    def outline(self, polygon: np.ndarray, width: int, label: int) -> None:
        """Draw the border of a polygon in the label map only."""
        cv2.polylines(self.labels, [_fixed(polygon)], True, label, width, cv2.LINE_8, _SHIFT)


def ellipse(center: np.ndarray, radii: tuple[float, float]) -> np.ndarray:
    """Return the polygon (14, 2) of an axis-aligned ellipse."""
    return center + _CIRCLE * radii


def bar(begin: np.ndarray, end: np.ndarray, width: float) -> np.ndarray:
    """Return the polygon (4, 2) of a straight bar."""
    (x0, y0), (x1, y1) = begin, end
    scale = 0.5 * width / max(math.hypot(x1 - x0, y1 - y0), 1e-6)
    across, down = scale * (y0 - y1), scale * (x1 - x0)
    return np.array(
        [(x0 + across, y0 + down), (x1 + across, y1 + down), (x1 - across, y1 - down), (x0 - across, y0 - down)]
    )


def _fixed(polygon: np.ndarray) -> np.ndarray:
    limited = np.minimum(np.maximum(polygon, -20_000), 20_000)
    return np.rint(limited * (1 << _SHIFT)).astype(np.int32)


def _clip(color: Color) -> tuple[int, int, int]:
    red, green, blue = (min(max(int(value), 0), 255) for value in color)
    return red, green, blue
