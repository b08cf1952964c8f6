"""Counting against a slow loop, and the invariances of counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from segbench.core.errors import MissingFault
from segbench.metrics import confusion
from segbench.metrics.confusion import Confusion, confusion_matrix
from segbench.metrics.scores import Tally


def _maps(*, classes: int, size: tuple[int, ...], seed: int = 0, ignored: float = 0.1) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, size)
    prediction = np.where(rng.random(size) < 0.6, target, rng.integers(0, classes, size))
    target[rng.random(size) < ignored] = 255
    return torch.from_numpy(target.astype(np.uint8)), torch.from_numpy(prediction.astype(np.uint8))


def _slow(target: Tensor, prediction: Tensor, classes: int) -> NDArray[np.int64]:
    matrix = np.zeros((classes, classes), dtype=np.int64)
    for t, p in zip(target.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        if t != 255:
            matrix[t, p] += 1
    return matrix


@pytest.mark.parametrize("classes", [1, 2, 19, 64, 65, 150, 255])
@pytest.mark.parametrize("size", [(3, 5), (257, 263)])
def test_slow_loop(classes: int, size: tuple[int, int]) -> None:
    target, prediction = _maps(classes=classes, size=size, seed=classes)
    got = confusion_matrix(target, prediction, num_classes=classes)
    assert got.dtype == torch.int64
    np.testing.assert_array_equal(got, _slow(target, prediction, classes))


@pytest.mark.parametrize("size", [(40, 50), (300, 411)])
def test_torchmetrics(size: tuple[int, int]) -> None:
    target, prediction = _maps(classes=11, size=size)
    theirs = multiclass_confusion_matrix(prediction.long(), target.long(), num_classes=11, ignore_index=255)
    assert torch.equal(confusion_matrix(target, prediction, num_classes=11), theirs)


@pytest.mark.parametrize("size", [(4097, 4099), (1, (1 << 24) + 1), ((1 << 24) + 1, 1)])
def test_more_pixels_in_a_bin_than_float32_can_count(size: tuple[int, int]) -> None:
    target = torch.zeros(size, dtype=torch.uint8)
    target[-1, -1] = 7
    matrix = confusion_matrix(target, torch.zeros_like(target), num_classes=200)
    assert matrix[0, 0] == size[0] * size[1] - 1 and matrix[7, 0] == 1 and matrix.sum() == size[0] * size[1]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
def test_wider_integers_and_odd_layouts(dtype: torch.dtype) -> None:
    target, prediction = _maps(classes=7, size=(280, 300))
    expected = confusion_matrix(target, prediction, num_classes=7)
    assert torch.equal(confusion_matrix(target.to(dtype), prediction.to(dtype), num_classes=7), expected)
    assert torch.equal(confusion_matrix(target.T, prediction.T, num_classes=7), expected)
    assert torch.equal(confusion_matrix(target.flatten(), prediction.flatten(), num_classes=7), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_invariances(seed: int, classes: int) -> None:
    target, prediction = _maps(classes=classes, size=(9, 13), seed=seed)
    matrix = confusion_matrix(target, prediction, num_classes=classes)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(classes))
    table = torch.cat((order, torch.full((256 - classes,), 255)))
    renamed = confusion_matrix(table[target.long()], order[prediction.long()], num_classes=classes)
    assert torch.equal(renamed[order][:, order], matrix)
    parts = [confusion_matrix(target[rows], prediction[rows], num_classes=classes) for rows in (slice(4), slice(4, 9))]
    assert torch.equal(sum(parts), matrix)
    changed = torch.where(target == 255, (prediction + 1) % classes, prediction)
    assert torch.equal(confusion_matrix(target, changed, num_classes=classes), matrix)


@pytest.mark.parametrize("size", [(4, 4), (300, 300)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_values_out_of_range_are_named(size: tuple[int, int], dtype: torch.dtype) -> None:
    target, prediction = (x.to(dtype) for x in _maps(classes=5, size=size))
    bad = target.clone()
    bad[0, :3] = 33
    with pytest.raises(MissingFault, match=r"berlin_1: label value 33 \(3 pixels\) lies outside 0\.\.4"):
        confusion_matrix(bad, prediction, num_classes=5, name="berlin_1")
    bad[0, :3] = 254
    with pytest.raises(MissingFault, match="254"):
        confusion_matrix(bad, prediction, num_classes=5)
    wrong = prediction.clone()
    target[-1, -1], wrong[-1, -1] = 255, 5
    with pytest.raises(MissingFault, match="prediction value 5"):
        confusion_matrix(target, wrong, num_classes=5)
    if dtype == torch.int64:
        for value in (-1, 256, 511):
            bad[0, 0] = value
            with pytest.raises(MissingFault, match=str(value)):
                confusion_matrix(bad, prediction, num_classes=5)


def test_misuse() -> None:
    maps = torch.zeros(4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="agree"):
        confusion_matrix(maps, maps[:2], num_classes=3)
    with pytest.raises(ValueError, match="integer"):
        confusion_matrix(maps.float(), maps, num_classes=3)
    for classes in (0, 256):
        with pytest.raises(ValueError, match="num_classes"):
            confusion_matrix(maps, maps, num_classes=classes)
    empty = torch.zeros(0, 4, dtype=torch.uint8)
    assert confusion_matrix(empty, empty, num_classes=3).sum() == 0


def test_running_counts_sum_and_keep_every_image() -> None:
    target, prediction = _maps(classes=6, size=(5, 20, 30))
    whole, split = Confusion(6), Confusion(6)
    whole.update(target, prediction, keys=list("abcde"))
    split.update(target[:2], prediction[:2], keys=list("ab"))
    split.update(target[2], prediction[2], keys=["c"])
    split.update(target[3:].long(), prediction[3:].long(), keys=list("de"))
    for counts in (whole, split):
        assert counts.keys == list("abcde")
        np.testing.assert_array_equal(counts.matrix(), _slow(target, prediction, 6))
        images = counts.per_image()
        assert images.target.shape == (5, 6)
        assert images.target.dtype == np.int64
        total, expected = images.total(), Tally.of(counts.matrix())
        np.testing.assert_array_equal(total.true_positive, expected.true_positive)
        np.testing.assert_array_equal(total.predicted, expected.predicted)
        np.testing.assert_array_equal(total.target, expected.target)
        np.testing.assert_array_equal(images.predicted[3], _slow(target[3], prediction[3], 6).sum(0))
    assert Confusion(6).per_image().target.shape == (0, 6)
    target[4, 0, 0] = 77
    with pytest.raises(MissingFault, match="e: label value 77"):
        whole.update(target, prediction, keys=list("abcde"))


def test_matrices_of_single_images_are_kept_on_request() -> None:
    target, prediction = _maps(classes=6, size=(3, 20, 30))
    counts = Confusion(6, keep_matrices=True)
    counts.update(target[:2], prediction[:2])
    counts.update(target[2], prediction[2])
    matrices = counts.matrices()
    assert matrices.shape == (3, 6, 6) and matrices.dtype == np.int64
    for index in range(3):
        np.testing.assert_array_equal(matrices[index], _slow(target[index], prediction[index], 6))
    assert Confusion(6, keep_matrices=True).matrices().shape == (0, 6, 6)
    with pytest.raises(ValueError, match="not kept"):
        Confusion(6).matrices()


def test_counting_of_cuda_in_its_arithmetic() -> None:
    """The code for CUDA, run on a CPU; the next test needs the device."""
    target, prediction = _maps(classes=9, size=(60, 70))
    matrix, invalid = confusion._count_cuda(target, prediction, num_classes=9)
    np.testing.assert_array_equal(matrix, _slow(target, prediction, 9))
    assert int(invalid) == 0
    labels, predicted = target.long(), prediction.long()
    labels[0, :4] = torch.tensor([9, 254, -1, 300])
    predicted[1, :2] = torch.tensor([9, 255])
    labels[1, 0] = 255
    assert int(confusion._count_cuda(labels, predicted, num_classes=9)[1]) == 6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("classes", [2, 19, 171, 255])
def test_cuda_equals_cpu(classes: int) -> None:
    target, prediction = _maps(classes=classes, size=(3, 200, 333))
    on_cpu, on_cuda = Confusion(classes), Confusion(classes, device="cuda")
    on_cpu.update(target, prediction)
    on_cuda.update(target.cuda(), prediction.cuda())
    np.testing.assert_array_equal(on_cuda.matrix(), on_cpu.matrix())
    np.testing.assert_array_equal(on_cuda.per_image().predicted, on_cpu.per_image().predicted)
    bad = target.clone().cuda()
    bad[1, 0, 0] = 255 if classes == 255 else 254
    prediction[2, 0, 0] = 255
    on_cuda.update(bad, prediction.cuda(), keys=["a", "b", "c"])
    with pytest.raises(MissingFault, match="c: 1 pixels"):
        on_cuda.matrix()
    with pytest.raises(MissingFault, match="prediction value 255"):
        confusion_matrix(bad[2], prediction[2].cuda(), num_classes=classes)
