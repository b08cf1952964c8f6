"""What the Cityscapes benchmark server takes: one grey PNG of label ids an image, named for it, in one zip."""

import numpy as np

from segbench.data.classes import IGNORE, ClassTable
from segbench.data.submission import Server, grey_png

from .labels import labels

SERVER = Server(
    title="the Cityscapes test server",
    url="https://www.cityscapes-dataset.com/submit/",
    split="test",
    metrics=("miou", "iiou", "category_miou", "category_iiou"),
    suffix=".zip",
    hint="Pixel-level semantic labeling; an account is needed, and submissions are limited.",
)
VALUES = frozenset(label.id for label in labels() if label.id >= 0)


def member(key: str) -> str:
    """``test/berlin_000000_000019`` -> ``berlin_000000_000019_pred.png``: city, sequence and frame come first."""
    city_sequence_frame = "_".join(key.rpartition("/")[2].split("_")[:3])
    return f"{city_sequence_frame}_pred.png"


def encode(train_ids: np.ndarray, table: ClassTable) -> bytes:
    """Label ids 7..33 of the predicted classes, found by name: a variant of the table may order them otherwise."""
    ids = {label.name: label.id for label in labels()}
    lookup = np.zeros(256, np.uint8)  # what is no class of the evaluation, such as a void output, is unlabeled
    for train_id, name in enumerate(table.names):
        lookup[train_id] = max(ids.get(name, 0), 0)
    lookup[IGNORE] = 0
    return grey_png(lookup[train_ids])
