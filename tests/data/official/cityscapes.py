"""A tiny Cityscapes in the exact form of its two archives: file names, encodings, groups, dummy test labels."""

import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from segbench.data.facts import DatasetOptions
from segbench.data.sets.cityscapes.labels import Label, labels
from segbench.data.sets.cityscapes.options import Options

from .packing import Members, without_checksums, write_unpacked, write_zip

SIZE = (32, 64)
CITIES = {"train": {"aachen": 3, "zurich": 2}, "val": {"frankfurt": 2}, "test": {"berlin": 2}}
IMAGES, LABELS = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
_BLOCK = 4
_CAR, _PERSON = 26, 24


def tiny_options() -> DatasetOptions:
    """Cityscapes' facts with the counts and the size of the tiny archives."""
    splits = {split: (sum(cities.values()),) for split, cities in CITIES.items()}
    return without_checksums(Options(splits=splits, native_size=SIZE, size_bytes=1_000_000))


def write_archives(folder: Path) -> dict[str, Path]:
    """Both zips."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: write_zip(folder / name, members) for name, members in archives().items()}


def write_tree(folder: Path) -> Path:
    """The data set's folder as segbench unpacks it."""
    return write_unpacked(folder, tiny_options(), archives())


def frames() -> list[tuple[str, str]]:
    """(split, CITY_SEQUENCE_FRAME) of every image, in the order of the data set."""
    return [
        (split, f"{city}_{index:06d}_000019")
        for split, cities in CITIES.items()
        for city, count in sorted(cities.items())
        for index in range(count)
    ]


@cache
def arrays(frame: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image uint8 (32, 64, 3) RGB, label ids uint8 (32, 64) and instance ids uint16 (32, 64)."""
    ids = np.zeros(SIZE, np.uint8)
    instances = np.zeros(SIZE, np.uint16)
    running: dict[int, int] = {}
    for (top, left, bottom, right), label, group in _objects(frame):
        value = label.id
        if label.has_instances and not group:
            running[label.id] = running.get(label.id, -1) + 1
            value = label.id * 1000 + running[label.id]
        ids[top:bottom, left:right] = label.id
        instances[top:bottom, left:right] = value
    colours = np.array([label.color for label in labels()], np.int16)
    noise = np.random.default_rng(list(frame.encode())).integers(-20, 21, (*SIZE, 3))
    return np.clip(colours[ids] + noise, 0, 255).astype(np.uint8), ids, instances


@cache
def archives() -> dict[str, Members]:
    """Archive name to all of its members, those that nobody wants included."""
    images: Members = {"README": b"Cityscapes\n", "license.txt": b"licence\n"}
    labels_: Members = dict(images)
    for split, frame in frames():
        image, ids, instances = arrays(frame)
        city = frame.split("_")[0]
        images[f"leftImg8bit/{split}/{city}/{frame}_leftImg8bit.png"] = _png(image[..., ::-1])
        if split == "test":  # everything of the public test labels is ignored
            ids, instances = np.full_like(ids, 3), np.full_like(instances, 3)
        stem = f"gtFine/{split}/{city}/{frame}_gtFine_"
        colours = np.array([(*label.color[::-1], 255) for label in labels()], np.uint8)
        labels_[f"{stem}color.png"] = _png(colours[ids])
        labels_[f"{stem}instanceIds.png"] = _png(instances)
        labels_[f"{stem}labelIds.png"] = _png(ids)
        labels_[f"{stem}polygons.json"] = json.dumps(_polygons(frame)).encode()
    return {IMAGES: images, LABELS: labels_}


def _objects(frame: str) -> list[tuple[tuple[int, int, int, int], Label, bool]]:
    """(top, left, bottom, right), label and whether it is a group, in the order in which they are drawn.

    Every id from 0 to 33 occurs, instances of each class, a group of cars and one of persons, the own vehicle over
    the bottom and the region outside of the picture over the left column.
    """
    grid = np.random.default_rng(list(frame.encode())).integers(0, 34, (SIZE[0] // _BLOCK) * (SIZE[1] // _BLOCK))
    grid[16:54] = [*range(34), _CAR, _CAR, _PERSON, _PERSON]
    found = []
    for place, value in enumerate(grid):
        top, left = (_BLOCK * int(part) for part in divmod(place, SIZE[1] // _BLOCK))
        found.append(((top, left, top + _BLOCK, left + _BLOCK), labels()[value], place in (51, 53)))
    found.append(((SIZE[0] - 2, 0, *SIZE), labels()[1], False))
    found.append(((0, 0, SIZE[0], 1), labels()[3], False))
    return found


def _polygons(frame: str) -> dict:
    """The annotation that the label files were drawn from, with a license plate that leaves no trace in them."""
    things = [
        {"label": label.name + "group" * group, "polygon": _corners(box)} for box, label, group in _objects(frame)
    ]
    plate = _objects(frame)[16 + _CAR][0]
    things.append({"label": "license plate", "polygon": _corners((plate[0] + 1, plate[1] + 1, plate[2], plate[3]))})
    return {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": things}


def _corners(box: tuple[int, int, int, int]) -> list[list[int]]:
    top, left, bottom, right = box
    return [[left, top], [right - 1, top], [right - 1, bottom - 1], [left, bottom - 1]]


def _png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(array))[1].tobytes()
