"""Things of classes without a role in the street: shape, hue and pattern are derived from the class name."""

import zlib
from functools import cache

import cv2
import numpy as np

from .canvas import Color, ellipse
from .scene import Scene

_HUES: tuple[Color, ...] = (
    (150, 92, 74), (84, 104, 60), (70, 92, 132), (186, 160, 104), (140, 140, 142),
    (120, 70, 110), (190, 110, 60), (70, 128, 124),
)  # fmt: skip
_SHAPES = ("ball", "box", "beast", "vase", "region", "wedge")
_PATTERNS = ("stripes", "bars", "checks", "dots", "plain", "rings")


@cache
def traits(slug: str) -> tuple[Color, Color, str, str, float]:
    """Return first hue, second hue, shape, pattern and pattern period (fraction of the thing) of a class."""
    rng = np.random.default_rng(zlib.crc32(slug.encode()))
    first, second = rng.choice(len(_HUES), size=2, replace=False)
    shape, pattern = _SHAPES[rng.integers(len(_SHAPES))], _PATTERNS[rng.integers(len(_PATTERNS))]
    return _HUES[first], _HUES[second], shape, pattern, float(rng.choice([0.16, 0.28, 0.4]))


def paint_thing(scene: Scene, slug: str, label: int, x: float, z: float) -> None:
    """Draw one thing of a class on the ground (regions: anywhere)."""
    first, second, shape, pattern, period = traits(slug)
    canvas, rng = scene.canvas, scene.rng
    size = scene.camera.pixels(scene.uniform(1.0, 2.2), z)
    foot = scene.camera.project(x, 0, z)
    if shape == "region":
        size = scene.uniform(0.12, 0.3) * canvas.width
        foot = np.array([rng.uniform(0, canvas.width), rng.uniform(0.3, 1.0) * canvas.height])
    size = max(size, 0.07 * canvas.height)
    center = foot - (0, size * 0.5)
    polygons = _polygons(shape, center, size, rng)
    mask = np.zeros(canvas.labels.shape, np.uint8)
    left, top = np.maximum(np.floor(np.min([p.min(0) for p in polygons], axis=0)).astype(int), 0)
    right, bottom = np.ceil(np.max([p.max(0) for p in polygons], axis=0)).astype(int) + 1
    right, bottom = min(right, canvas.width), min(bottom, canvas.height)
    if left >= right or top >= bottom:
        return
    cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32) for polygon in polygons], 255)
    window = mask[top:bottom, left:right] > 0
    rows = (np.arange(top, bottom) - center[1])[:, None] / size
    columns = (np.arange(left, right) - center[0])[None] / size
    second_share = _pattern(pattern, rows, columns, period)[..., None] * 0.75
    spread = rng.normal(0, 10, 3)
    light = scene.uniform(0.75, 1.2) * (1.0 - 0.35 * columns[..., None] * (1 if scene.sun[0] > scene.sun[1] else -1))
    color = (np.array(first) + spread) * (1 - second_share) + (np.array(second) + spread) * second_share
    painted = np.clip(color * light, 0, 255).astype(np.uint8)
    canvas.rgb[top:bottom, left:right][window] = painted[window]
    canvas.labels[top:bottom, left:right][window] = label


def _polygons(shape: str, center: np.ndarray, size: float, rng: np.random.Generator) -> list[np.ndarray]:
    half = size / 2
    if shape == "ball":
        return [ellipse(center, (half * rng.uniform(0.8, 1.1), half))]
    if shape == "box":
        wide = half * rng.uniform(0.7, 1.4)
        return [center + np.array([[-wide, -half], [wide, -half], [wide, half], [-wide, half]])]
    if shape == "beast":
        flip = 1 if rng.random() < 0.5 else -1
        body = ellipse(center, (half, half * 0.45))
        head = ellipse(center + np.array([flip * half * 0.95, -half * 0.5]), (half * 0.32, half * 0.3))
        legs = [
            center + np.array([[dx, 0.2], [dx + 0.14, 0.2], [dx + 0.14, 1.0], [dx, 1.0]]) * half
            for dx in (-0.75, -0.35, 0.25, 0.62)
        ]
        return [body, head, *legs]
    if shape == "vase":
        outline = np.array(
            [[-0.15, -1], [0.15, -1], [0.15, -0.5], [0.4, 0.1], [0.3, 1], [-0.3, 1], [-0.4, 0.1], [-0.15, -0.5]]
        )
        return [center + outline * half]
    if shape == "wedge":
        return [center + np.array([[0, -1], [rng.uniform(0.6, 1.1), 1], [-rng.uniform(0.6, 1.1), 1]]) * half]
    angle = np.arange(10) * (2 * np.pi / 10)
    radius = half * rng.uniform(0.7, 1.3, 10)
    return [center + np.stack([radius * np.cos(angle) * 1.4, radius * np.sin(angle)], axis=1)]


def _pattern(pattern: str, rows: np.ndarray, columns: np.ndarray, period: float) -> np.ndarray:
    """Return the fraction of the second hue, 0..1, over coordinates in units of the thing's size."""
    turn = 2 * np.pi / period
    flat = np.zeros(np.broadcast_shapes(rows.shape, columns.shape))
    if pattern == "stripes":
        return flat + (np.sin(turn * rows) > 0)
    if pattern == "bars":
        return flat + (np.sin(turn * columns) > 0)
    if pattern == "checks":
        return (np.sin(turn * rows) * np.sin(turn * columns) > 0).astype(float)
    if pattern == "dots":
        return (np.cos(turn * rows) + np.cos(turn * columns) > 0.9).astype(float)
    if pattern == "rings":
        return (np.sin(turn * np.hypot(rows, columns)) > 0).astype(float)
    return flat
