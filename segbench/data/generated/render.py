"""Rendering of one street scene: street layout, things from far to near, photographic effects."""

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from segbench.data.classes import IGNORE, ClassTable

from . import furniture, street, vehicles
from .canvas import Camera, Canvas
from .look import photograph
from .roles import Roles, roles_of
from .scene import Scene
from .things import paint_thing

VERSION = 1

Item = tuple[float, Callable[[], None]]  # depth, and function that paints


def render(
    index: int, *, table: ClassTable, size: tuple[int, int], seed: int, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Render one image with its labels; the same arguments give the same image.

    Args:
        index: number of the image in its split.
        table: classes to label. Street classes have a role in the scene; any other class is drawn as a patterned
            thing, each of them in turn as ``index`` grows.
        size: (height, width) in pixels.
        seed: seed of the whole data set.
        split: name of the split; splits share no image.

    Returns:
        uint8 (H, W, 3) RGB and uint8 (H, W) train ids, 255 where nothing is labelled.
    """
    rng = np.random.default_rng([VERSION, seed, zlib.crc32(split.encode()), index])
    roles = roles_of(table)
    scene = _layout(rng, roles, size)
    street.paint_sky(scene)
    street.paint_ground(scene)
    street.paint_end(scene)
    street.paint_sides(scene)
    items = [*_traffic(scene), *_roadside(scene), *_others(scene, roles, index)]
    for _, paint in sorted(items, key=lambda item: -item[0]):
        paint()
    _leave_unlabelled(scene)
    return photograph(scene.canvas.rgb, scene.canvas.labels, roles, rng), scene.canvas.labels


def _layout(rng: np.random.Generator, roles: Roles, size: tuple[int, int]) -> Scene:
    height, width = size
    camera = Camera(
        focal=width * rng.uniform(0.75, 1.05),
        center=width * rng.uniform(0.4, 0.6),
        horizon=height * rng.uniform(0.38, 0.52),
        height=rng.uniform(1.3, 1.9),
    )
    left, right = -rng.uniform(2.6, 6.5), rng.uniform(2.6, 6.5)
    grey = rng.uniform(176, 222)
    bright = rng.uniform(0.95, 1.15), rng.uniform(0.62, 0.85)
    return Scene(
        rng=rng,
        canvas=Canvas(height, width, label=IGNORE),
        camera=camera,
        label=roles.label,
        road=(left, right),
        front=(left - rng.uniform(1.5, 4.5), right + rng.uniform(1.5, 4.5)),
        end=rng.uniform(45, 120),
        sun=bright if rng.random() < 0.5 else bright[::-1],
        haze=(grey, grey * 1.01, grey * rng.uniform(0.98, 1.05)),
    )


def _traffic(scene: Scene) -> list[Item]:
    """Place moving and parked vehicles."""
    items: list[Item] = []
    left, right = scene.road

    def put(role: str, paint: Callable[[Scene, float, float], None], x: float, z: float) -> None:
        if role in scene.label:
            items.append((z, partial(paint, scene, x, z)))

    for side, x in ((0, left + 1.1), (1, right - 1.1)):  # parked cars
        z = scene.uniform(4, 12)
        crowded = scene.chance(0.55)
        while z < 55 and crowded:
            if scene.chance(0.7):
                put("car", vehicles.paint_car, x + (side - 0.5) * scene.uniform(-0.3, 0.3), z)
            z += scene.uniform(5.2, 8)
    for _ in range(int(scene.rng.integers(0, 4))):
        put("car", vehicles.paint_car, scene.uniform(left + 1.2, right - 1.2), scene.uniform(6, 50))
    rare = (
        ("bus", vehicles.paint_bus, 0.14),
        ("truck", vehicles.paint_truck, 0.16),
        ("train", vehicles.paint_train, 0.08),
    )
    for role, paint, probability in rare:
        if scene.chance(probability):
            x = left + 1.6 if scene.chance(0.5) else right - 1.6
            put(role, paint, x, scene.uniform(9, 28))
    for role, probability in (("bicycle", 0.55), ("motorcycle", 0.18)):
        while scene.chance(probability) and role in scene.label:
            x, z = scene.uniform(left, right), scene.uniform(4, 22)
            items.append((z, partial(vehicles.paint_cycle, scene, role, x, z)))
            if "rider" in scene.label and scene.chance(0.75):
                rider = partial(furniture.paint_person, scene, x, z - 0.02, role="rider", lift=0.35)
                items.append((z - 0.02, rider))
    return items


def _roadside(scene: Scene) -> list[Item]:
    """Place objects and people on the pavements."""
    items: list[Item] = []

    def put(role: str, paint: Callable[[Scene, float, float], None], x: float, z: float) -> None:
        if role in scene.label:
            items.append((z, partial(paint, scene, x, z)))

    for side, sign in ((0, -1), (1, 1)):
        kerb, front = scene.road[side], scene.front[side]
        between = partial(scene.uniform, *sorted((kerb + sign * 0.4, front - sign * 0.3)))
        z = scene.uniform(4, 14)
        pitch, planted = scene.uniform(10, 24), scene.chance(0.4)
        while z < 70:
            put("pole", furniture.paint_lamp, kerb + sign * 0.5, z)
            if planted:
                put("tree", furniture.paint_tree, kerb + sign * 1.1, z + pitch / 2)
            z += pitch
        for _ in range(int(scene.rng.integers(0, 3))):
            put("sign", furniture.paint_sign, kerb + sign * 0.6, scene.uniform(5, 26))
        if scene.chance(0.4):
            put("traffic_light", furniture.paint_traffic_light, kerb + sign * 0.7, scene.uniform(6, 24))
        for _ in range(int(scene.rng.poisson(1.7))):
            put("person", furniture.paint_person, between(), scene.uniform(4, 28))
        if scene.chance(0.25):
            for place in np.arange(scene.uniform(4, 8), 20, 1.8):
                put("pole", furniture.paint_bollard, kerb + sign * 0.35, float(place))
        if "fence" in scene.label and scene.chance(0.35):
            x = kerb + sign * 0.3 if scene.chance(0.4) else front - sign * 0.2
            near = scene.uniform(2, 14)
            far = near + scene.uniform(5, 22)
            items.append((near + 0.3 * (far - near), partial(furniture.paint_fence, scene, x, near, far)))
        if scene.chance(0.3):
            z = scene.uniform(4, 18)
            items.append((z, partial(furniture.paint_clutter, scene, between(), z)))
    if "person" in scene.label and scene.chance(0.3):  # a pedestrian crosses
        x, z = scene.uniform(*scene.road), scene.uniform(6, 18)
        items.append((z, partial(furniture.paint_person, scene, x, z)))
    return items


def _others(scene: Scene, roles: Roles, index: int) -> list[Item]:
    """Place things of classes without a role: one in turn, and some at random, the first classes most often."""
    count = len(roles.others)
    if not count:
        return []
    weights = 1.0 / (np.arange(count) + 3.0)
    more = scene.rng.choice(count, size=4, p=weights / weights.sum())
    items: list[Item] = []
    for place, number in enumerate([int(number) for number in more] + [index % count]):
        train_id = roles.others[number]
        turn = place == len(more)
        z = scene.uniform(3.5, 6.0) if turn else scene.uniform(4, 16)  # the class in turn stands in front
        x = scene.uniform(-0.38, 0.38) * z
        items.append((z, partial(paint_thing, scene, roles.slugs[train_id], train_id, x, z)))
    return items


def _leave_unlabelled(scene: Scene) -> None:
    """Add void: the car that carries the camera, and unannotated patches."""
    canvas, rng = scene.canvas, scene.rng
    height, width = canvas.height, canvas.width
    if scene.chance(0.35):
        center = np.array([width * rng.uniform(0.4, 0.6), height * 1.06])
        canvas.disc(
            center, (width * 0.55, height * rng.uniform(0.09, 0.16)), scene.pick(((40, 42, 46), (96, 98, 102))), IGNORE
        )
    border = max(1, round(height / 180))
    if scene.chance(0.4):  # a strip along a contour
        for value in rng.choice(len(scene.label), size=2):
            train_id = list(scene.label.values())[int(value)]
            region = (canvas.labels == train_id).astype(np.uint8)
            inner = region[border:, :] != region[:-border, :]
            canvas.labels[border:, :][inner] = IGNORE
    for _ in range(int(rng.integers(0, 3))):
        corner = np.array([rng.uniform(0, width), rng.uniform(0.2, 1.0) * height])
        extent = np.array([rng.uniform(0.01, 0.06) * width, rng.uniform(0.01, 0.05) * height])
        canvas.relabel(corner + extent * np.array([[-1, -1], [1, -0.6], [0.8, 1], [-0.7, 0.8]]), IGNORE)
