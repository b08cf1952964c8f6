"""Cars, trucks, buses and trams as boxes in perspective; bicycles and motorcycles."""

import numpy as np

from .canvas import Color
from .scene import PAINTS, Scene

_GLASS: Color = (44, 52, 62)
_TYRE: Color = (26, 26, 28)


def paint_car(scene: Scene, x: float, z: float) -> None:
    """Paint a car along the street; ``z`` is its near end."""
    width, length, height = scene.uniform(1.65, 1.95), scene.uniform(3.4, 4.8), scene.uniform(1.38, 1.75)
    _body(scene, "car", (x, z), (width, length, height), belt=height * 0.56, cabin=(0.12, 0.22))


def paint_truck(scene: Scene, x: float, z: float) -> None:
    """Paint a lorry: a bright box on a dark frame."""
    width, length, height = 2.4, scene.uniform(6, 9), scene.uniform(2.8, 3.8)
    color = scene.pick(((196, 192, 186), (150, 154, 160), (120, 96, 70), (60, 80, 120)))
    _box(scene, "truck", (x, z), (width, length), (0.8, height), color)
    label = scene.label["truck"]
    rear = scene.upright(x, z, width=width, low=0.45, high=0.8)
    scene.canvas.fill([rear, _inner(scene, x, z, width, length, 0.45, 0.8)], scene.tint((48, 48, 52), z), label)
    _wheels(scene, "truck", (x, z), (width, length), radius=0.5)
    doors = scene.upright(x, z, width=0.08, low=0.9, high=height - 0.1)
    scene.canvas.fill([doors], scene.tint((80, 80, 84), z))


def paint_bus(scene: Scene, x: float, z: float) -> None:
    """Paint a bus: a tall box with a band of windows."""
    _coach(
        scene,
        "bus",
        (x, z),
        (2.5, scene.uniform(8, 12), scene.uniform(2.9, 4.2)),
        ((170, 44, 40), (206, 176, 70), (70, 96, 140)),
    )


def paint_train(scene: Scene, x: float, z: float) -> None:
    """Paint a tram: long, light, with a coloured stripe."""
    width, length, height = 2.6, scene.uniform(16, 28), 3.5
    _coach(scene, "train", (x, z), (width, length, height), ((214, 210, 204), (190, 196, 186)))
    stripe = _inner(scene, x, z, width, length, 0.7, 1.1)
    scene.canvas.fill([stripe], scene.tint(scene.pick(((180, 40, 40), (40, 110, 80))), z))


def paint_cycle(scene: Scene, role: str, x: float, z: float) -> None:
    """Paint a bicycle or motorcycle, seen somewhat from the side."""
    heavy = role == "motorcycle"
    half = scene.uniform(0.25, 0.55)
    radius = 0.3 if heavy else 0.34
    label = scene.label[role]
    size = (scene.camera.pixels(radius * half / 0.55, z), scene.camera.pixels(radius, z))
    hubs = [scene.camera.project(x + offset, radius, z) for offset in (-half, half)]
    tyre = scene.tint(_TYRE, z)
    for hub in hubs:
        scene.canvas.disc(hub, size, tyre, label)
        if min(size) > 3:
            hollow = (size[0] * 0.8, size[1] * 0.84)
            scene.canvas.disc(hub, hollow, scene.tint((98, 98, 100), z))
    color = scene.tint(scene.pick(PAINTS), z)
    saddle = scene.camera.project(x - half * 0.4, 0.85, z)
    bars = scene.camera.project(x + half * 0.8, 1.0, z)
    pedals = scene.camera.project(x, 0.3, z)
    thick = scene.camera.pixels(0.3 if heavy else 0.07, z)
    for begin, end in ((hubs[0], saddle), (saddle, bars), (bars, hubs[1]), (saddle, pedals), (pedals, bars)):
        scene.canvas.line(begin, end, thick, color, label)


def _coach(
    scene: Scene, role: str, at: tuple[float, float], size: tuple[float, float, float], colors: tuple[Color, ...]
) -> None:
    (x, z), (width, length, height) = at, size
    _box(scene, role, at, (width, length), (0.3, height), scene.pick(colors))
    sash = scene.tint(_GLASS, z)
    scene.canvas.fill([scene.upright(x, z, width=width * 0.86, low=height * 0.52, high=height * 0.86)], sash)
    side = [
        _inner(scene, x, z + begin, width, min(1.3, length - begin), height * 0.5, height * 0.82)
        for begin in np.arange(0.3, length - 0.5, 1.6)
    ]
    scene.canvas.fill(side, sash)
    _lights(scene, at, width, height=0.75)
    _wheels(scene, role, at, (width, length), radius=0.45)


def _body(
    scene: Scene,
    role: str,
    at: tuple[float, float],
    size: tuple[float, float, float],
    *,
    belt: float,
    cabin: tuple[float, float],
) -> None:
    """Paint a lower box up to the belt line, and a cabin that narrows towards the roof."""
    (x, z), (width, length, height) = at, size
    paint, label = scene.pick(PAINTS), scene.label[role]
    _shadow(scene, x, z, width, length)
    inner = _inner_x(x, width)
    near, far = z + cabin[0] * length, z + (1 - cabin[1]) * length
    roof_near, roof_far = near + 0.5, far - 0.6
    narrow = 0.82
    side = scene.camera.project(
        [inner, inner, x + (inner - x) * narrow, x + (inner - x) * narrow],
        [belt, belt, height, height],
        [near, far, roof_far, roof_near],
    )
    rear = scene.camera.project(
        [x - width / 2, x + width / 2, x + width / 2 * narrow, x - width / 2 * narrow],
        [belt, belt, height, height],
        [near, near, roof_near, roof_near],
    )
    if scene.camera.pixels(height, z) < 5:  # too far away for details
        whole = scene.upright(x, z, width=width, low=0.1, high=height * 0.95)
        scene.canvas.fill([whole], scene.tint(paint, z), label)
        scene.canvas.fill([scene.upright(x, z, width=width * 0.8, low=belt, high=height * 0.85)], scene.tint(_GLASS, z))
        return
    top = scene.tint(paint, z, light=1.05)
    flank = scene.tint(paint, z, light=_flank_light(scene, x))
    glass = scene.tint(_GLASS, z)
    canvas = scene.canvas
    canvas.fill([side], glass, label)
    canvas.fill([rear], top, label)
    canvas.fill([_shrink(rear, 0.8)], glass)
    posts = scene.camera.project(
        [[inner, inner, x + (inner - x) * narrow, x + (inner - x) * narrow]] * 2,
        [[belt, belt, height, height]] * 2,
        [[(near + far) / 2 - 0.05, (near + far) / 2 + 0.05] * 2, [far - 0.5, far - 0.35, roof_far, roof_far - 0.15]],
    )
    canvas.fill(posts, flank)
    canvas.fill([_inner(scene, x, z, width, length, 0.22, belt)], flank, label)
    canvas.fill(
        [scene.camera.project([x - width / 2, x + width / 2] * 2, belt, [z, z, near, near])[[0, 1, 3, 2]]], top, label
    )
    back = scene.upright(x, z, width=width, low=0.2, high=belt)
    canvas.fill([back], scene.tint(paint, z, light=0.88), label)
    canvas.fill([scene.upright(x, z, width=width, low=0.2, high=0.42)], scene.tint((52, 52, 54), z))
    canvas.fill([scene.upright(x, z, width=0.5, low=0.45, high=0.57)], scene.tint((206, 204, 190), z))
    _lights(scene, at, width, height=belt * 0.8)
    _wheels(scene, role, at, (width, length), radius=0.31)
    if scene.chance(0.2):
        canvas.outline(back, max(1, scene.canvas.height // 150), 255)


def _box(
    scene: Scene,
    role: str,
    at: tuple[float, float],
    size: tuple[float, float],
    heights: tuple[float, float],
    paint: Color,
) -> None:
    (x, z), (width, length), (low, high) = at, size, heights
    _shadow(scene, x, z, width, length)
    flank = scene.tint(paint, z, light=_flank_light(scene, x))
    label = scene.label[role]
    scene.canvas.fill([_inner(scene, x, z, width, length, low, high)], flank, label)
    scene.canvas.fill([scene.upright(x, z, width=width, low=low, high=high)], scene.tint(paint, z), label)


def _wheels(scene: Scene, role: str, at: tuple[float, float], size: tuple[float, float], *, radius: float) -> None:
    (x, z), (width, length) = at, size
    inner = _inner_x(x, width)
    label, tyre = scene.label[role], scene.tint(_TYRE, z)
    angle = np.arange(12) * (np.pi / 6)
    for place in (0.18, 0.8):
        hub = z + place * length
        rim = scene.camera.project(inner, radius * (1 + np.sin(angle)), hub + radius * np.cos(angle))
        scene.canvas.fill([rim], tyre, label)
        scene.canvas.fill([_shrink(rim, 0.5)], scene.tint((120, 120, 124), z))
    for offset in (-0.4, 0.4):
        scene.canvas.fill([scene.upright(x + offset * width, z, width=0.22, low=0, high=0.3)], tyre, label)


def _lights(scene: Scene, at: tuple[float, float], width: float, *, height: float) -> None:
    x, z = at
    oncoming = x < (scene.road[0] + scene.road[1]) / 2
    color: Color = (232, 228, 206) if oncoming else (176, 34, 30)
    lamps = [
        scene.upright(x + side * width * 0.4, z, width=0.28, low=height - 0.09, high=height + 0.09) for side in (-1, 1)
    ]
    scene.canvas.fill(lamps, scene.tint(color, z))


def _shadow(scene: Scene, x: float, z: float, width: float, length: float) -> None:
    scene.canvas.blend(scene.ground(x - width * 0.58, x + width * 0.58, z - 0.25, z + length), (12, 12, 16), 0.62)


def _inner(scene: Scene, x: float, z: float, width: float, length: float, low: float, high: float) -> np.ndarray:
    """Return the polygon of the side that the camera sees."""
    return scene.along(_inner_x(x, width), z, z + length, low=low, high=high)


def _inner_x(x: float, width: float) -> float:
    return x + width / 2 if x < 0 else x - width / 2


def _flank_light(scene: Scene, x: float) -> float:
    return scene.sun[0] if x < 0 else scene.sun[1]


def _shrink(polygon: np.ndarray, factor: float) -> np.ndarray:
    center = polygon.mean(axis=0)
    return center + (polygon - center) * factor
