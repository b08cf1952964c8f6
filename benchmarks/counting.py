"""Counting one 1024x2048 image into a 19-class confusion matrix, against other ways; one thread.

Run ``python benchmarks/counting.py``. Every way must give the same matrix before it is timed. Maps are smooth regions
with 3 % wrong pixels, as real predictions are; ``--noise`` takes independent random pixels instead.
"""

import argparse
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from timing import median_seconds
from torchmetrics.functional.classification import multiclass_confusion_matrix

from segbench.metrics.confusion import confusion_matrix

CLASSES = 19
SIZE = (1024, 2048)
Map = NDArray[np.uint8]


def maps(*, noise: bool) -> tuple[Map, Map]:
    """Label and prediction maps, uint8, with 6 % ignored pixels."""
    rng = np.random.default_rng(0)
    if noise:
        target = rng.integers(0, CLASSES, SIZE).astype(np.uint8)
        prediction = rng.integers(0, CLASSES, SIZE).astype(np.uint8)
    else:
        smooth = cv2.resize(rng.random((16, 32)), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        target = (smooth.clip(0, 0.999) * CLASSES).astype(np.uint8)
        prediction = np.roll(target, (3, 2), (0, 1))
        wrong = rng.random(SIZE) < 0.03
        prediction[wrong] = rng.integers(0, CLASSES, np.count_nonzero(wrong))
    target[:60] = 255
    return target, prediction


def by_torchmetrics(target: Map, prediction: Map, *, validate: bool) -> NDArray[np.int64]:
    matrix = multiclass_confusion_matrix(
        torch.from_numpy(prediction).long(),
        torch.from_numpy(target).long(),
        num_classes=CLASSES,
        ignore_index=255,
        validate_args=validate,
    )
    return matrix.numpy()


def by_numpy(target: Map, prediction: Map) -> NDArray[np.int64]:
    valid = target != 255
    index = target[valid].astype(np.int64) * CLASSES + prediction[valid]
    return np.bincount(index, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def by_opencv(target: Map, prediction: Map) -> NDArray[np.int64]:
    """Without any check of the values."""
    bounds = [0, CLASSES, 0, CLASSES]
    return cv2.calcHist([target, prediction], [0, 1], None, [CLASSES, CLASSES], bounds).astype(np.int64)


def by_torch(target: Map, prediction: Map) -> NDArray[np.int64]:
    labels, predicted = torch.from_numpy(target), torch.from_numpy(prediction)
    valid = labels != 255
    index = labels[valid].long() * CLASSES + predicted[valid]
    return torch.bincount(index, minlength=CLASSES**2).reshape(CLASSES, CLASSES).numpy()


def by_segbench(target: Map, prediction: Map) -> NDArray[np.int64]:
    matrix = confusion_matrix(torch.from_numpy(target), torch.from_numpy(prediction), num_classes=CLASSES)
    return matrix.numpy()


WAYS: dict[str, Callable[[Map, Map], NDArray[np.int64]]] = {
    "segbench (values checked)": by_segbench,
    "torchmetrics, validate_args=True": partial(by_torchmetrics, validate=True),
    "torchmetrics, validate_args=False": partial(by_torchmetrics, validate=False),
    "numpy.bincount after a mask": by_numpy,
    "torch.bincount after a mask": by_torch,
    "cv2.calcHist in 2-D, unchecked": by_opencv,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    target, prediction = maps(noise=arguments.noise)
    expected = by_numpy(target, prediction)
    times: dict[str, float] = {}
    for name, way in WAYS.items():
        np.testing.assert_array_equal(way(target, prediction), expected)
        times[name] = median_seconds(partial(way, target, prediction), repeats=arguments.repeats, warmup=2)
    own = times[next(iter(WAYS))]
    for name, seconds in times.items():
        print(f"{name:36s} {seconds * 1e3:8.2f} ms  {seconds / own:6.2f} x segbench")
    rival = min([*times][1:], key=times.__getitem__)
    print(f"segbench takes {own / times[rival]:.2f} of the time of the fastest other, {rival} (target: at most 1)")


if __name__ == "__main__":
    main()
