"""Writes tiny data sets as a user may have them: labels as colours, and labels as values of a palette."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE = (48, 64)
SPLITS = {"train": 2, "val": 2}
COLOURS = np.array([[128, 64, 128], [0, 0, 142], [0, 0, 0]], np.uint8)  # road, car, ignored
VALUES = np.array([7, 9, 0], np.uint8)

FIELDS = """\
schema: 1
title: Fields
licence: own pictures
images: images/{split}/*.png
labels: labels/{split}/*_gt.png
label_mode: colours
size: [48, 64]
classes:
  - {name: road, colour: [128, 64, 128]}
  - {name: car, colour: [0, 0, 142]}
ignore: [[0, 0, 0]]
splits: [train, val]
"""
YARDS = """\
schema: 1
images: pictures/*.jpg
labels: masks/*.png
label_mode: indices
classes:
  - {name: road, value: 7}
  - {name: car, values: [9]}
ignore: [0]
splits:
  train: {list: train.txt}
  val: {list: val.txt}
"""


def arrays(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB image (48, 64, 3) and which of road, car, ignored a pixel is (48, 64), each of them somewhere."""
    rng = np.random.default_rng([sum(split.encode()), index])
    blocks = rng.integers(0, 3, (6, 8))
    blocks.flat[:3] = [0, 1, 2]
    parts = blocks.repeat(8, 0).repeat(8, 1)
    return COLOURS[parts] // 2 + rng.integers(0, 50, (*SIZE, 3), dtype=np.uint8), parts


def write_fields(root: Path, text: str = FIELDS) -> Path:
    """Labels as colours, folders for splits."""
    folder = root / "fields"
    for split, count in SPLITS.items():
        for index in range(count):
            image, parts = arrays(split, index)
            put(folder / "images" / split / f"f{index}.png", image)
            put(folder / "labels" / split / f"f{index}_gt.png", COLOURS[parts])
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")
    return folder


def write_yards(root: Path, text: str = YARDS) -> Path:
    """Labels as values: the first of a split with a palette, the others grey; lists for splits."""
    folder = root / "yards"
    for split, count in SPLITS.items():
        for index in range(count):
            image, parts = arrays(split, index)
            put(folder / "pictures" / f"{split}{index}.jpg", image)
            path = folder / "masks" / f"{split}{index}.png"
            put(path, VALUES[parts])
            if index == 0:
                drawn = Image.fromarray(VALUES[parts], mode="P")
                drawn.putpalette([channel for colour in range(256) for channel in (colour, 255 - colour, 7)])
                drawn.save(path)
        lines = [f"{split}{index}\n" for index in range(count)]
        (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")
    return folder


def put(path: Path, array: np.ndarray) -> None:
    """Write an RGB (H, W, 3) or grey (H, W) array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)
