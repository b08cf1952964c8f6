"""Pillow's filters against their formula, and what whole images with labels become."""

import math

import cv2
import numpy as np
import pytest

from segbench.core.spec import DataSpec
from segbench.data.resample import filtered_window, resize


def triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def lanczos(x: float) -> float:
    if x == 0:
        return 1.0
    inner = math.sin(math.pi * x) / (math.pi * x)
    return inner * math.sin(math.pi * x / 3) / (math.pi * x / 3) if abs(x) < 3 else 0.0


def keys(x: float) -> float:
    """Keys' cubic convolution with a = -1/2."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


TRUTH = {"bilinear": triangle, "bicubic": keys, "lanczos": lanczos}


def weights(source: int, target: int, kernel) -> np.ndarray:
    """(target, source), from the formula."""
    step = source / target
    rows = [[kernel((j + 0.5 - (i + 0.5) * step) / max(step, 1.0)) for j in range(source)] for i in range(target)]
    return np.array([np.array(row) / sum(row) for row in rows])


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("how", TRUTH)
@pytest.mark.parametrize("size", [(8, 11), (30, 29), (13, 40), (20, 26), (3, 26)])
def test_filters(how, size: tuple[int, int]) -> None:
    image = 64 + noise(20, 26) // 2  # so that nothing is cut off at black or white
    across, along = weights(20, size[0], TRUTH[how]), weights(26, size[1], TRUTH[how])
    truth = np.einsum("ij,jkc,lk->ilc", across, image.astype(float), along)
    found = filtered_window(image, size, (0, 0), size, how=how)
    assert found.dtype == np.uint8
    assert np.abs(found - truth).max() <= 1.3  # each direction is rounded
    assert np.abs(found - truth).mean() <= 0.4
    assert np.array_equal(found, image) == (size == (20, 26))


@pytest.mark.parametrize("how", TRUTH)
@pytest.mark.parametrize("size", [(23, 31), (61, 77)])
def test_window_equals_the_whole(how, size: tuple[int, int]) -> None:
    image = noise(40, 52)
    whole = filtered_window(image, size, (0, 0), size, how=how).astype(int)
    for top, left, rows, columns in [(0, 0, 5, 6), (7, 9, 12, 13), (size[0] - 3, size[1] - 4, 3, 4), (2, 0, 20, 31)]:
        part = filtered_window(image, size, (top, left), (rows, columns), how=how)
        assert np.abs(whole[top : top + rows, left : left + columns] - part).max() <= 1
        assert part.flags.writeable


def test_resize_takes_labels_along_untouched() -> None:
    image, label = noise(12, 20), np.random.default_rng(1).choice([0, 3, 255], (12, 20)).astype(np.uint8)
    results = {how: resize(image, label, (6, 10), how=how) for how in ("area", "bilinear", "lanczos")}
    for how, (picture, piece) in results.items():
        assert np.array_equal(piece, label[1::2, 1::2])
        assert np.array_equal(picture, results["area"][0]) == (how == "area")
    mean = image.reshape(6, 2, 10, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(results["area"][0] - mean).max() <= 0.5
    same = resize(image, label, (12, 20), how="lanczos")
    assert same[0] is image
    grown = resize(image, label, (24, 40))[0]
    assert np.array_equal(grown, cv2.resize(image, (40, 24), interpolation=cv2.INTER_LINEAR))


def test_ids_are_as_before() -> None:
    assert DataSpec(name="camvid", resize="area").id() == DataSpec(name="camvid").id()
    assert DataSpec(name="camvid", resize="lanczos").id() != DataSpec(name="camvid").id()
