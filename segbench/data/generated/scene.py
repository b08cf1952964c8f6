"""State of a street scene: generator, canvas, camera, labels, light and haze."""

from dataclasses import dataclass

import numpy as np

from .canvas import Camera, Canvas, Color

# Colours shared by several classes, so that none is recognizable by its colour alone.
FACADES = (
    (150, 92, 74),
    (176, 150, 118),
    (196, 186, 168),
    (128, 122, 118),
    (168, 126, 92),
    (108, 78, 66),
    (206, 200, 192),
)
PAINTS = (
    (42, 44, 50),
    (150, 152, 156),
    (214, 214, 212),
    (128, 30, 32),
    (38, 58, 104),
    (86, 92, 96),
    (60, 74, 66),
    (176, 150, 96),
)
CLOTHES = (
    (40, 42, 52),
    (92, 60, 56),
    (60, 72, 104),
    (140, 132, 124),
    (128, 40, 44),
    (60, 84, 64),
    (196, 188, 176),
    (150, 116, 70),
)
GREENS = ((70, 98, 44), (54, 84, 40), (92, 112, 50), (88, 96, 56))


@dataclass(frozen=True)
class Scene:
    """One street.

    Attributes:
        rng: the only random generator.
        canvas, camera: image and camera.
        label: role to train id (see ``roles``).
        road: x of the left and the right kerb.
        front: x of the left and the right house fronts.
        end: depth at which the street ends.
        sun: brightness of walls that face right and left.
        haze: colour of distant things.
    """

    rng: np.random.Generator
    canvas: Canvas
    camera: Camera
    label: dict[str, int]
    road: tuple[float, float]
    front: tuple[float, float]
    end: float
    sun: tuple[float, float]
    haze: Color

    def tint(self, color: Color, z: float, *, light: float = 1.0) -> Color:
        """Return a colour under the light, faded with distance."""
        fade = 1 - float(np.exp(-z / 160.0))
        red, green, blue = (
            light * value * (1 - fade) + far * fade for value, far in zip(color, self.haze, strict=True)
        )
        return red, green, blue

    def pick(self, colors: tuple[Color, ...], *, spread: float = 14.0) -> Color:
        """Draw one of the colours, varied in brightness and a little in hue."""
        base = colors[int(self.rng.integers(len(colors)))]
        shift = self.rng.normal(0.0, spread)
        red, green, blue = (
            value + shift + float(extra) for value, extra in zip(base, self.rng.normal(0, 5, 3), strict=True)
        )
        return red, green, blue

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def upright(self, x: float, z: float, *, width: float, low: float, high: float) -> np.ndarray:
        """Return the polygon (4, 2) of an upright rectangle that faces the camera."""
        half = width / 2
        return self.camera.project([x - half, x + half, x + half, x - half], [low, low, high, high], z)

    def along(self, x: float, near: float, far: float, *, low: float, high: float) -> np.ndarray:
        """Return the polygon (4, 2) of an upright rectangle along the street."""
        return self.camera.project(x, [low, low, high, high], [near, far, far, near])

    def ground(self, left: float, right: float, near: float, far: float) -> np.ndarray:
        """Return the polygon (4, 2) of a rectangle on the ground."""
        return self.camera.project([left, right, right, left], 0.0, [near, near, far, far])
