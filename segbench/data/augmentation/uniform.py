"""Class-uniform sampling: crops of an epoch that are centred on classes. Free of torch.

As HANet's released code (datasets/uniform.py), which drops incomplete tiles at the right and lower border of an image;
here the tiles cover the image. Both are equal if its sides are multiples of the tile's, as those of Cityscapes.
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
    """Find the positions of every class in the images; reads each label once.

    Args:
        dataset: images with labels.
        tile: side of a tile in pixels of the images as they are read.
        workers: threads.
        observer: told of progress and asked to stop.

    Returns:
        For each class (K, 3) int32: image, row and column of its centroid in every tile that shows it.

    Raises:
        InvalidFault: no pixel is labelled.
        MissingFault: a file is missing or broken.
        Interrupted: the observer requested a stop.
    """
    classes = dataset.classes.num_classes

    def of_image(index: int) -> np.ndarray:
        found = label_centroids(dataset.read(index)[1], num_classes=classes, tile=tile)
        return np.insert(found, 1, index, axis=1)

    centroids: list[np.ndarray] = []
    count = observer.counter("classes in the labels", "images")
    pool = ThreadPoolExecutor(max(1, workers), "segbench-data")
    try:
        for of_one in (pool.map if workers else map)(of_image, range(len(dataset))):
            centroids.append(of_one)
            count(len(centroids), len(dataset))
            if observer.stop_requested():
                raise Interrupted("Stopped while looking for the classes in the labels.", next=_AGAIN)
    finally:
        pool.shutdown(cancel_futures=True)
    found = np.concatenate(centroids)
    if not len(found):
        raise InvalidFault("augmentation.class_uniform needs labels, and no image of the stream has any.")
    return [found[found[:, 0] == number, 1:] for number in range(classes)]


def label_centroids(label: np.ndarray, *, num_classes: int, tile: int) -> np.ndarray:
    """Return the centroids of one label (H, W), cut into tiles: (K, 3) int32 of class, row and column.

    A centroid is the mean position of the class's pixels in the tile, rounded down; it need not be one of them.
    """
    found = []
    for top, bottom in _tiles(label.shape[0], tile):
        for left, right in _tiles(label.shape[1], tile):
            piece = label[top:bottom, left:right]
            present = np.flatnonzero(cv2.calcHist([piece], [0], None, [256], [0, 256]))
            for number in present[present < num_classes].tolist():
                mask = (piece == number).view(np.uint8)
                rows, columns = (cv2.reduce(mask, side, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() for side in (1, 0))
                count = int(rows.sum())
                row, column = (int(sums @ np.arange(len(sums))) // count for sums in (rows, columns))
                found.append((number, top + row, left + column))
    return np.array(found, np.int32).reshape(-1, 3)


def plan_epoch(centroids: Sequence[np.ndarray], *, images: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return the samples of an epoch in order.

    Args:
        centroids: of every class, see ``find_centroids``.
        images: number of images, and of samples.
        share: fraction of samples centred on centroids, before rounding down to the same number for each class.
        rng: generator of this epoch.

    Returns:
        (images, 3) int32: image, row and column that the crop shows, ``ANYWHERE`` for both if any crop will do.
    """
    count = int(images * share / len(centroids))
    centred = [own[_in_turn(len(own), count, rng)] for own in centroids if len(own)]
    rest = images - sum(map(len, centred))
    free = np.full((rest, 3), ANYWHERE, np.int32)
    free[:, 0] = _in_turn(images, rest, rng)
    return rng.permutation(np.concatenate([*centred, free]))


def _in_turn(length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``count`` of ``length`` indices in random order, none again before all have been drawn."""
    return rng.permutation(length)[np.arange(count) % length]


def _tiles(side: int, tile: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the equal tiles of a side, whose length is as near to ``tile`` as can be."""
    number = max(1, (2 * side + tile) // (2 * tile))
    for place in range(number):
        yield place * side // number, (place + 1) * side // number
