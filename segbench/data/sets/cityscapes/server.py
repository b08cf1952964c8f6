"""Format of the Cityscapes benchmark server: a zip with one grey PNG of label ids per image."""

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
    """Return the file name of an image: ``test/berlin_000000_000019`` -> ``berlin_000000_000019_pred.png``."""
    city_sequence_frame = "_".join(key.rpartition("/")[2].split("_")[:3])
    return f"{city_sequence_frame}_pred.png"


def encode(train_ids: np.ndarray, table: ClassTable) -> bytes:
    """Encode label ids 7..33 of the predicted classes, found by name: variants of the table may reorder them."""
    ids = {label.name: label.id for label in labels()}
    lookup = np.zeros(256, np.uint8)  # classes that are not evaluated, such as void, become unlabeled
    for train_id, name in enumerate(table.names):
        lookup[train_id] = max(ids.get(name, 0), 0)
    lookup[IGNORE] = 0
    return grey_png(lookup[train_ids])
