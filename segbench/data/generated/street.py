"""Sky, ground and the sides of the street: houses, walls, fences, hedges."""

import cv2
import numpy as np

from .canvas import Color
from .scene import FACADES, GREENS, Scene

_GROUND_NEAR = 0.8  # metres; nearer than the lower border of any picture


def paint_sky(scene: Scene) -> None:
    """Paint a gradient with soft clouds above the horizon."""
    canvas, rng = scene.canvas, scene.rng
    rows = int(np.clip(np.ceil(scene.camera.horizon) + 2, 2, canvas.height))
    overcast = rng.random()
    zenith = np.array([86, 126, 182]) * (1 - overcast) + np.array([176, 182, 190]) * overcast
    ramp = np.linspace(0, 1, rows)[:, None, None] ** 1.5
    clouds = cv2.resize(rng.random((4, 7), np.float32), (canvas.width, rows), interpolation=cv2.INTER_CUBIC)
    clouds = np.clip(clouds * 2.2 - 1.0, 0, 1)[..., None] * 0.7
    sky = zenith * (1 - ramp) + np.array(scene.haze) * ramp
    canvas.rgb[:rows] = np.clip(sky * (1 - clouds) + 232 * clouds, 0, 255).astype(np.uint8)
    canvas.labels[:] = scene.label["sky"]


def paint_ground(scene: Scene) -> None:
    """Paint terrain to the horizon, pavements, the road with lane marks, and their shadows."""
    left, right = scene.road
    tone = scene.uniform(64, 122)
    asphalt: Color = (tone, tone * scene.uniform(0.97, 1.03), tone * scene.uniform(0.98, 1.08))
    slab = tone + scene.uniform(8, 52)
    paving: Color = (slab * scene.uniform(1.0, 1.06), slab, slab * scene.uniform(0.9, 1.0))
    earth = scene.pick(GREENS) if scene.chance(0.7) else scene.pick(((134, 118, 92),))
    strips: list[tuple[float, float, Color, str]] = [
        (-400.0, 400.0, earth, "terrain"),
        (scene.front[0], scene.front[1], paving, "pavement"),
        (left, right, asphalt, "road"),
    ]
    for begin, end, color, role in strips:
        for near, far in ((_GROUND_NEAR, 9.0), (9.0, 25.0), (25.0, 70.0), (70.0, 2_000.0)):
            shade = scene.tint(color, min(near, 120.0), light=scene.uniform(0.97, 1.03))
            scene.canvas.fill([scene.ground(begin, end, near, far)], shade, scene.label[role])
    kerb: Color = (1.22 * paving[0], 1.22 * paving[1], 1.22 * paving[2])
    for x in (left, right):
        scene.canvas.fill([scene.ground(x - 0.09, x + 0.09, _GROUND_NEAR, 80.0)], kerb)
    _paint_marks(scene, tone)
    _paint_shadows(scene)


def _paint_marks(scene: Scene, tone: float) -> None:
    left, right = scene.road
    white = min(tone + scene.uniform(50, 110), 235)
    color: Color = (white, white, white * 0.97)
    lanes = max(2, round((right - left) / 3.3))
    begin = scene.uniform(0, 6)
    dashes = []
    for lane in range(1, lanes):
        x = left + (right - left) * lane / lanes
        solid = scene.chance(0.2)
        starts = [_GROUND_NEAR] if solid else np.arange(begin + 1, 60, 6.0)
        dashes += [scene.ground(x - 0.07, x + 0.07, z, 70.0 if solid else z + 3.0) for z in starts]
    if scene.chance(0.3):
        dashes += [scene.ground(x, x + 0.1, _GROUND_NEAR, 60.0) for x in (left + 0.4, right - 0.5)]
    if scene.chance(0.25):
        z = scene.uniform(5, 18)
        dashes += [scene.ground(x, x + 0.5, z, z + 3.0) for x in np.arange(left + 0.3, right - 0.6, 1.0)]
    scene.canvas.fill(dashes, color)
    if scene.chance(0.5):  # patches and stains
        for _ in range(3):
            z, x = scene.uniform(3, 20), scene.uniform(left, right)
            patch = scene.ground(x - 0.8, x + scene.uniform(0, 1.5), z, z + scene.uniform(0.5, 4))
            scene.canvas.blend(patch, (tone * 0.7,) * 3, 0.5)


def _paint_shadows(scene: Scene) -> None:
    if not scene.chance(0.6):
        return
    shaded = scene.sun[0] < scene.sun[1]  # houses on the left throw the shadow
    reach = scene.uniform(0.1, 0.8) * (scene.road[1] - scene.road[0])
    z = 0.8
    while z < 60:
        far = z + scene.uniform(4, 16)
        if scene.chance(0.75):
            if shaded:
                polygon = scene.ground(scene.front[0], scene.road[0] + reach * scene.uniform(0.7, 1.1), z, far)
            else:
                polygon = scene.ground(scene.road[1] - reach * scene.uniform(0.7, 1.1), scene.front[1], z, far)
            scene.canvas.blend(polygon, (16, 18, 26), 0.5)
        z = far


def paint_end(scene: Scene) -> None:
    """Paint a row of distant houses and trees at the end of the street."""
    x, z = scene.front[0] - 60.0, scene.end
    while x < scene.front[1] + 60.0:
        width, height = scene.uniform(6, 22), scene.uniform(4, 16)
        if scene.chance(0.35) and "tree" in scene.label:
            color = scene.tint(scene.pick(GREENS), z)
            crown = scene.camera.project(x + width / 2, height * 0.35, z)
            radii = (scene.camera.pixels(width * 0.6, z), scene.camera.pixels(height * 0.45, z))
            scene.canvas.disc(crown, radii, color, scene.label["tree"])
        else:
            wall = scene.upright(x + width / 2, z, width=width, low=0, high=height)
            scene.canvas.fill([wall], scene.tint(scene.pick(FACADES), z), scene.label["building"])
        x += width * scene.uniform(0.6, 1.1)


def paint_sides(scene: Scene) -> None:
    """Paint both sides of the street from far to near."""
    for side in (0, 1):
        kinds = {"building": scene.uniform(0.4, 0.9), "hedge": 0.16, "wall": 0.12, "open": 0.1}
        names = list(kinds)
        weights = np.array(list(kinds.values()))
        pieces, z = [], scene.uniform(-6, 1)
        while z < scene.end:
            length = scene.uniform(7, 20)
            pieces.append((z, z + length, names[int(scene.rng.choice(4, p=weights / weights.sum()))]))
            z += length
        for near, far, kind in reversed(pieces):
            near = max(near, 0.6)
            if kind == "building" and far > near:
                _paint_house(scene, side, near, far)
            elif kind == "wall" and "wall" in scene.label and far > near:
                _paint_wall(scene, side, near, far)
            elif kind == "hedge" and "tree" in scene.label and far > near:
                _paint_hedge(scene, side, near, far)


def _paint_house(scene: Scene, side: int, near: float, far: float) -> None:
    label, canvas = scene.label["building"], scene.canvas
    setback = scene.uniform(0, 2.5) if scene.chance(0.3) else 0.0
    sign = -1 if side == 0 else 1
    x = scene.front[side] + sign * setback
    floors = int(scene.rng.integers(2, 7))
    storey = scene.uniform(2.8, 3.6)
    height = floors * storey + scene.uniform(0.3, 1.5)
    color = scene.pick(FACADES)
    light = scene.sun[side]
    middle = (near + min(far, near + 15)) / 2
    flank = scene.camera.project([x, x + sign * 14.0, x + sign * 14.0, x], [0, 0, height, height], near)
    canvas.fill([flank], scene.tint(color, near, light=0.8), label)
    if scene.chance(0.4):  # a pitched roof, seen from the street
        roof = scene.camera.project(
            [x, x, x + sign * 4, x + sign * 4], [height, height, height + 3, height + 3], [near, far, far, near]
        )
        canvas.fill([roof], scene.tint(scene.pick(((104, 64, 52), (84, 84, 90))), middle), label)
    canvas.fill([scene.along(x, near, far, low=0, high=height)], scene.tint(color, middle, light=light), label)
    cornice = scene.along(x, near, far, low=height - 0.5, high=height)
    canvas.fill([cornice], scene.tint(color, middle, light=light * 0.82))
    _paint_windows(scene, x, near, far, floors=floors, storey=storey, light=light)


def _paint_windows(
    scene: Scene, x: float, near: float, far: float, *, floors: int, storey: float, light: float
) -> None:
    pitch = scene.uniform(2.2, 3.6)
    width, height = pitch * scene.uniform(0.35, 0.65), storey * scene.uniform(0.45, 0.65)
    shop = scene.chance(0.45)
    columns = np.arange(near + 0.6, far - width - 0.3, pitch)
    if columns.size == 0:
        return
    rows = np.arange(1 if shop else 0, floors) * storey + 0.9
    z, y = np.meshgrid(columns, rows)
    z, y = z.ravel()[:, None], y.ravel()[:, None]
    corners = scene.camera.project(x, y + np.array([0, 0, height, height]), z + np.array([0, width, width, 0]))
    lit = scene.rng.random(len(corners)) < 0.3
    glass = scene.tint((52, 62, 76), near, light=light)
    bright = scene.tint((150, 166, 184), near, light=light)
    if scene.chance(0.5):
        rim = scene.camera.project(
            x,
            y + np.array([-0.12, -0.12, height + 0.12, height + 0.12]),
            z + np.array([-0.12, width + 0.12, width + 0.12, -0.12]),
        )
        scene.canvas.fill(rim, scene.tint((212, 206, 196), near, light=light))
    scene.canvas.fill(corners[~lit], glass)
    scene.canvas.fill(corners[lit], bright)
    if shop:
        front = [scene.along(x, z0, min(z0 + pitch * 0.85, far), low=0.3, high=2.5) for z0 in columns]
        scene.canvas.fill(front, scene.tint((46, 48, 54), near, light=light))
        board = scene.along(x, near, far, low=2.6, high=3.1)
        scene.canvas.fill([board], scene.tint(scene.pick(((160, 40, 40), (40, 70, 130), (60, 110, 70))), near))


def _paint_wall(scene: Scene, side: int, near: float, far: float) -> None:
    x, height = scene.front[side], scene.uniform(1.6, 3.2)
    color = scene.pick(FACADES)
    shade = scene.tint(color, near, light=scene.sun[side])
    scene.canvas.fill([scene.along(x, near, far, low=0, high=height)], shade, scene.label["wall"])
    dark: Color = (shade[0] * 0.8, shade[1] * 0.8, shade[2] * 0.8)
    joints = [scene.along(x, near, far, low=y, high=y + 0.04) for y in np.arange(0.4, height, 0.4)]
    joints += [scene.along(x, z, z + 0.12, low=0, high=height) for z in np.arange(near, far, 3.0)]
    scene.canvas.fill(joints, dark)
    scene.canvas.fill(
        [scene.along(x, near, far, low=height - 0.12, high=height)], (shade[0] * 1.12, shade[1] * 1.12, shade[2] * 1.12)
    )


def _paint_hedge(scene: Scene, side: int, near: float, far: float) -> None:
    """Paint a row of trees and bushes behind the pavement."""
    sign = -1 if side == 0 else 1
    high = scene.uniform(1.5, 9.0)
    for z in np.linspace(far, near, 5):
        for _ in range(3):
            x = scene.front[side] + sign * scene.uniform(0.5, 5)
            size = scene.uniform(0.3, 0.5) * high
            center = scene.camera.project(x, high * scene.uniform(0.3, 0.75), z)
            color = scene.tint(scene.pick(GREENS), float(z), light=scene.uniform(0.7, 1.15))
            radius = scene.camera.pixels(size, float(z))
            scene.canvas.disc(center, (radius * 1.2, radius), color, scene.label["tree"])
    low = scene.along(scene.front[side] + sign * 0.5, near, far, low=0, high=high * 0.4)
    scene.canvas.fill([low], scene.tint(scene.pick(GREENS), near, light=0.85), scene.label["tree"])
