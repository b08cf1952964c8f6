"""Label table of Cityscapes, for evaluation and export. Free of torch."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

_FILE = Path(__file__).with_name("labels.yaml")


@dataclass(frozen=True)
class Label:
    """One label, as in cityscapesScripts' ``helpers/labels.py``.

    Attributes:
        id: value in ``labelIds.png``; -1 (license plate) never occurs there.
        train_id: 0..18 for scored classes, 255 for ignored labels, -1 for license plate.
        name: e.g. ``traffic light``.
        category: one of eight, ``void`` among them.
        category_id: 0..7, 0 is ``void``.
        has_instances: True if its instances are separate in ``instanceIds.png``.
        ignore_in_eval: True if its pixels are excluded from every score.
        color: display colour (R, G, B), 0..255; not unique.
    """

    id: int
    train_id: int
    name: str
    category: str
    category_id: int
    has_instances: bool
    ignore_in_eval: bool
    color: tuple[int, int, int]


@cache
def labels() -> tuple[Label, ...]:
    """Return all 35 labels: ids 0..33 at their own positions, license plate last."""
    return tuple(Label(*(*plain, tuple(color))) for *plain, color in _data()["labels"])


@cache
def train_id_to_id() -> np.ndarray:
    """Return read-only uint8 (256,): the id of each train id 0..18, and 0 (unlabeled) for all others."""
    table = np.zeros(256, np.uint8)
    for label in labels():
        if not label.ignore_in_eval:
            table[label.train_id] = label.id
    table.flags.writeable = False
    return table


def average_instance_size() -> dict[str, float]:
    """Return the average number of pixels per instance in full 1024x2048 images, by label name.

    The official evaluation weights instances with them, whatever the size of the images (its ``iIoU``).
    """
    return {name: float(pixels) for name, pixels in _data()["average_instance_size"].items()}


@cache
def _data() -> dict:
    return yaml.safe_load(_FILE.read_text(encoding="utf-8"))
