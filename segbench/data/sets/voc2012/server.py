"""Format of the PASCAL VOC evaluation server: one palette PNG of class indices per image, in its folder tree."""

import numpy as np

from segbench.data.classes import ClassTable
from segbench.data.submission import Server, palette_png

SERVER = Server(
    title="the PASCAL VOC test server",
    url="http://host.robots.ox.ac.uk:8080/",
    split="test",
    metrics=("miou",),
    suffix=".tar.gz",
    hint="Hand in as comp6 (any training data) of VOC 2012 segmentation; an account is needed.",
)
VALUES = frozenset(range(21))


def member(key: str) -> str:
    """Return the path of an image, ``results/VOC2012/Segmentation/comp6_test_cls/2008_000006.png``."""
    return f"results/VOC2012/Segmentation/comp6_test_cls/{key.rpartition('/')[2]}.png"


def encode(train_ids: np.ndarray, table: ClassTable) -> bytes:
    """Encode class indices, which are the train ids, with the palette of the devkit."""
    return palette_png(train_ids, table.palette())
