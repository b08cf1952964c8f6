"""People, trees, poles, signs, traffic lights, fences, and unlabelled clutter."""

import numpy as np

from .canvas import Color
from .scene import CLOTHES, GREENS, Scene

_METALS: tuple[Color, ...] = ((92, 96, 98), (134, 136, 136), (58, 62, 60), (120, 104, 84))
_SKINS: tuple[Color, ...] = ((196, 152, 126), (150, 108, 84), (106, 74, 58))


def paint_person(scene: Scene, x: float, z: float, *, role: str = "person", lift: float = 0.0) -> None:
    """Paint a pedestrian, or a rider if lifted to a saddle."""
    tall = scene.uniform(1.5, 1.9) if scene.chance(0.85) else scene.uniform(1.0, 1.3)
    label, canvas = scene.label[role], scene.canvas
    at = lambda dx, y: scene.camera.project(x + dx * tall, lift + y * tall, z)  # noqa: E731
    px = lambda share: scene.camera.pixels(share * tall, z)  # noqa: E731
    coat, trousers = scene.pick(CLOTHES), scene.pick(CLOTHES)
    stride = scene.uniform(0.0, 0.11)
    for side, tone in ((-1, 0.8), (1, 1.0)):
        canvas.line(at(0.05 * side, 0.5), at(stride * side, 0.0), px(0.1), scene.tint(trousers, z, light=tone), label)
    lean = 0.1 if lift else 0.0
    canvas.line(at(0, 0.46), at(lean, 0.8), px(0.24), scene.tint(coat, z), label)
    for side in (-1, 1):
        hand = at(lean + 0.15 * side + stride * side, 0.47)
        canvas.line(at(lean + 0.11 * side, 0.78), hand, px(0.07), scene.tint(coat, z, light=0.85), label)
    canvas.disc(at(lean, 0.91), (px(0.062), px(0.085)), scene.tint(scene.pick(_SKINS), z), label)
    hair = scene.pick(((40, 32, 28), (86, 64, 44), (150, 140, 130)))
    canvas.disc(at(lean, 0.945), (px(0.064), px(0.05)), scene.tint(hair, z), label)
    if scene.chance(0.25) and not lift:
        bag = scene.camera.project([x + 0.1, x + 0.3, x + 0.3, x + 0.1], [0.5, 0.5, 0.85, 0.85], z)
        canvas.fill([bag], scene.tint(scene.pick(CLOTHES), z), label)


def paint_tree(scene: Scene, x: float, z: float) -> None:
    """Paint a trunk and a crown of many overlapping clumps."""
    high, label = scene.uniform(4, 11), scene.label["tree"]
    trunk = scene.camera.pixels(scene.uniform(0.2, 0.45), z)
    bark = scene.tint(scene.pick(((84, 70, 56), (104, 96, 86))), z)
    scene.canvas.line(scene.camera.project(x, 0, z), scene.camera.project(x, high * 0.6, z), trunk, bark, label)
    leaf = scene.pick(GREENS)
    for _ in range(9):
        y = high * scene.uniform(0.5, 1.0)
        dx = scene.uniform(-0.26, 0.26) * high
        radius = scene.camera.pixels(high * scene.uniform(0.08, 0.2), z)
        light = 0.65 + 0.5 * y / high + scene.uniform(-0.1, 0.1)
        center = scene.camera.project(x + dx, y, z)
        scene.canvas.disc(center, (radius * 1.15, radius), scene.tint(leaf, z, light=light), label)


def paint_lamp(scene: Scene, x: float, z: float) -> None:
    """Paint a tall post, often with an arm over the road."""
    high = scene.uniform(5, 9)
    color, label = scene.tint(scene.pick(_METALS), z), scene.label["pole"]
    width = scene.camera.pixels(scene.uniform(0.12, 0.2), z)
    top = scene.camera.project(x, high, z)
    scene.canvas.line(scene.camera.project(x, 0, z), top, width, color, label)
    if scene.chance(0.6):
        arm = scene.camera.project(x + (1.6 if x < 0 else -1.6), high + 0.3, z)
        scene.canvas.line(top, arm, width * 0.7, color, label)
        scene.canvas.disc(arm, (width * 2, width * 0.8), scene.tint((206, 206, 200), z), label)


def paint_bollard(scene: Scene, x: float, z: float) -> None:
    """Paint a knee-high post."""
    width = scene.camera.pixels(0.14, z)
    begin, end = scene.camera.project(x, 0, z), scene.camera.project(x, 1.0, z)
    scene.canvas.line(begin, end, width, scene.tint(scene.pick(_METALS), z), scene.label["pole"])


def paint_sign(scene: Scene, x: float, z: float) -> None:
    """Paint a disc, a triangle or a board on a post."""
    high, size = scene.uniform(2.1, 3.2), scene.uniform(0.3, 0.45)
    if "pole" in scene.label:
        post = scene.tint((126, 128, 128), z)
        ends = scene.camera.project(x, 0, z), scene.camera.project(x, high, z)
        scene.canvas.line(*ends, scene.camera.pixels(0.08, z), post, scene.label["pole"])
    label, canvas = scene.label["sign"], scene.canvas
    center = scene.camera.project(x, high, z)
    radius = scene.camera.pixels(size, z)
    rim = scene.tint(scene.pick(((172, 36, 36), (40, 70, 142), (206, 170, 50))), z)
    face = scene.tint((216, 214, 208), z)
    shape = int(scene.rng.integers(3))
    if shape == 0:
        canvas.disc(center, (radius, radius), rim, label)
        canvas.disc(center, (radius * 0.66, radius * 0.66), face if scene.chance(0.6) else rim)
    elif shape == 1:
        corners = center + radius * np.array([[0.0, -1.15], [1.0, 0.65], [-1.0, 0.65]])
        canvas.fill([corners], rim, label)
        canvas.fill([center + 0.55 * (corners - center)], face)
    else:
        wide = scene.uniform(0.7, 2.4)
        board = center + radius * np.array([[-wide, -0.8], [wide, -0.8], [wide, 0.8], [-wide, 0.8]])
        canvas.fill([board], rim, label)
        for row in (-0.3, 0.25):
            text = center + radius * np.array([[-0.75 * wide, row], [0.7 * wide, row]])
            canvas.line(text[0], text[1], radius * 0.2, face)


def paint_traffic_light(scene: Scene, x: float, z: float) -> None:
    """Paint a dark box with one lamp lit, on a post."""
    if "pole" in scene.label:
        ends = scene.camera.project(x, 0, z), scene.camera.project(x, 3.6, z)
        scene.canvas.line(*ends, scene.camera.pixels(0.12, z), scene.tint((88, 92, 92), z), scene.label["pole"])
    label = scene.label["traffic_light"]
    scene.canvas.fill([scene.upright(x, z, width=0.42, low=2.5, high=3.6)], scene.tint((36, 40, 38), z), label)
    lit = int(scene.rng.integers(3))
    for lamp, color in enumerate(((224, 60, 44), (232, 176, 60), (70, 208, 130))):
        light = color if lamp == lit else (58, 56, 54)
        radius = scene.camera.pixels(0.13, z)
        scene.canvas.disc(scene.camera.project(x, 3.4 - 0.35 * lamp, z), (radius, radius), scene.tint(light, z))


def paint_fence(scene: Scene, x: float, near: float, far: float) -> None:
    """Paint rails and bars; the label covers the gaps too, as annotators do."""
    high = scene.uniform(0.9, 1.4)
    area = scene.along(x, near, far, low=0, high=high)
    color = scene.tint(scene.pick(((66, 70, 72), (140, 142, 140), (60, 84, 66), (130, 108, 84))), near)
    scene.canvas.blend(area, color, 0.9 if scene.chance(0.3) else 0.35)
    scene.canvas.relabel(area, scene.label["fence"])
    rails = [scene.along(x, near, far, low=y, high=y + 0.06) for y in (0.15, high * 0.55, high - 0.06)]
    bars = [
        scene.along(x, z, z + 0.07, low=0, high=high) for z in np.arange(near, far, 0.5 if far - near < 12 else 1.0)
    ]
    dark: Color = (color[0] * 0.7, color[1] * 0.7, color[2] * 0.7)
    scene.canvas.fill(rails + bars, dark)


def paint_clutter(scene: Scene, x: float, z: float) -> None:
    """Paint a bin, a crate or a stall, ignored by the labels."""
    width, high = scene.uniform(0.4, 1.4), scene.uniform(0.6, 1.6)
    color = scene.pick(((70, 84, 74), (110, 100, 90), (60, 60, 66), (150, 120, 70)))
    box = scene.upright(x, z, width=width, low=0, high=high)
    scene.canvas.fill([box, scene.along(x, z, z + width, low=0, high=high)], scene.tint(color, z), 255)
    scene.canvas.fill([scene.upright(x, z, width=width, low=high - 0.12, high=high)], scene.tint(color, z, light=0.7))
