"""Class-uniform sampling: which samples of an epoch are cut around the classes, and where these lie. Free of torch.

As HANet's released code (datasets/uniform.py), which keeps no part of a tile at an image's right and lower border; here
the tiles of an image cover it. They are the same where its sides are multiples of the tile's, as those of Cityscapes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from segbench.core.errors import Interrupted, InvalidFault
from segbench.core.progress import SILENT, Observer
from segbench.data.dataset import SegDataset

ANYWHERE = -1
_AGAIN = "the same command again"


def find_centroids(
    dataset: SegDataset, *, tile: int, workers: int = 0, observer: Observer = SILENT
) -> list[np.ndarray]:
    """Where every class lies in the images; reads each label once.

    Args:
        dataset: of which images.
        tile: side of a tile in pixels of the images as they are read.
        workers: threads.
        observer: told of progress and asked to stop.

    Returns:
        For each class (K, 3) int32: image, row and column of its centroid in each tile of each image that shows it.

    Raises:
        InvalidFault: nothing at all is labelled.
        MissingFault: a file is missing or broken.
        Interrupted: the observer requested a stop.
    """
    classes = dataset.classes.num_classes

    def of_image(index: int) -> np.ndarray:
        found = label_centroids(dataset.read(index)[1], num_classes=classes, tile=tile)
        return np.insert(found, 1, index, axis=1)

    parts = []
    count = observer.counter("classes in the labels", "images")
    pool = ThreadPoolExecutor(max(1, workers), "segbench-data")
    try:
        for part in (pool.map if workers else map)(of_image, range(len(dataset))):
            parts.append(part)
            count(len(parts), len(dataset))
            if observer.stop_requested():
                raise Interrupted("Stopped while looking for the classes in the labels.", next=_AGAIN)
    finally:
        pool.shutdown(cancel_futures=True)
    found = np.concatenate(parts)
    if not len(found):
        raise InvalidFault("augmentation.class_uniform needs labels, and no image of the stream has any.")
    return [found[found[:, 0] == number, 1:] for number in range(classes)]


def label_centroids(label: np.ndarray, *, num_classes: int, tile: int) -> np.ndarray:
    """Centroids of one label (H, W), cut into tiles: (K, 3) int32 of class, row and column.

    A centroid is the mean place of a class's pixels in the tile, rounded down; it need not be one of them.
    """
    found = []
    for top, bottom in _tiles(label.shape[0], tile):
        for left, right in _tiles(label.shape[1], tile):
            part = label[top:bottom, left:right]
            present = np.flatnonzero(cv2.calcHist([part], [0], None, [256], [0, 256]))
            for number in present[present < num_classes].tolist():
                mask = (part == number).view(np.uint8)
                rows, columns = (cv2.reduce(mask, side, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() for side in (1, 0))
                count = int(rows.sum())
                row, column = (int(sums @ np.arange(len(sums))) // count for sums in (rows, columns))
                found.append((number, top + row, left + column))
    return np.array(found, np.int32).reshape(-1, 3)


def plan_epoch(centroids: Sequence[np.ndarray], *, images: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """The samples of an epoch in their order.

    Args:
        centroids: of every class, see ``find_centroids``.
        images: how many there are, and how many samples.
        share: of the samples that are cut around centroids, before rounding down to the same number for each class.
        rng: dice of this epoch.

    Returns:
        (images, 3) int32: image, row and column that the crop shows, ``ANYWHERE`` for both if it may lie anywhere.
    """
    count = int(images * share / len(centroids))
    parts = [own[_in_turn(len(own), count, rng)] for own in centroids if len(own)]
    rest = images - sum(map(len, parts))
    free = np.full((rest, 3), ANYWHERE, np.int32)
    free[:, 0] = _in_turn(images, rest, rng)
    return rng.permutation(np.concatenate([*parts, free]))


def _in_turn(length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many of ``length`` things in random order, none again before all have been."""
    return rng.permutation(length)[np.arange(count) % length]


def _tiles(side: int, tile: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the parts of a side: as many equal ones as come nearest to the tile."""
    number = max(1, (2 * side + tile) // (2 * tile))
    for place in range(number):
        yield place * side // number, (place + 1) * side // number
