import math

import numpy as np
import pytest
import torch

from segbench.losses.rmi import binary_cross_entropy, region_mutual_information


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def slow_pool(values, pool, size):
    """Windows of ``size`` every ``size``, the first half outside; what is outside is 0 to a mean, else nothing."""
    if size == 1:
        return values
    around, (height, width) = size // 2, values.shape
    rows, columns = ((length + 2 * around - size) // size + 1 for length in (height, width))
    pooled = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            inside = [
                values[y, x]
                for y in range(i * size - around, i * size - around + size)
                for x in range(j * size - around, j * size - around + size)
                if 0 <= y < height and 0 <= x < width
            ]
            pooled[i, j] = max(inside) if pool == "max" else sum(inside) / size**2
    return pooled


def points_of(values, side):
    height, width = values.shape
    windows = [
        values[i : i + side, j : j + side].ravel() for i in range(height - side + 1) for j in range(width - side + 1)
    ]
    points = np.stack(windows, 1)
    return points - points.mean(1, keepdims=True)


def slow_information(logits, target, *, side, pool, pool_size, alpha):
    """The formula with an inverse and a determinant, class by class and image by image."""
    images, classes, height, width = logits.shape
    total = 0.0
    for n in range(images):
        for c in range(classes):
            truth, scores = np.zeros((height, width)), np.full((height, width), 1e-6)
            for i in range(height):
                for j in range(width):
                    if int(target[n, i, j]) < classes:
                        truth[i, j] = float(int(target[n, i, j]) == c)
                        scores[i, j] += sigmoid(float(logits[n, c, i, j]))
            y = points_of(slow_pool(truth, pool, pool_size), side)
            p = points_of(slow_pool(scores, pool, pool_size), side)
            unit = alpha * np.eye(side**2)
            left = y @ y.T - y @ p.T @ np.linalg.inv(p @ p.T + unit) @ p @ y.T
            sign, value = np.linalg.slogdet(left + unit)
            assert sign == 1
            total += 0.5 * value / side**2
    return total / images


@pytest.mark.parametrize(("pool", "pool_size"), [("max", 3), ("mean", 4), ("mean", 3), ("max", 1)])
@pytest.mark.parametrize(("side", "alpha"), [(3, 1e-3), (2, 5e-4), (1, 1e-3)])
def test_equals_the_formula(blobs, pool, pool_size, side, alpha):
    target = blobs(side, size=(17, 14), classes=3)
    logits = 2 * torch.randn(2, 3, 17, 14, dtype=torch.float64)
    options = {"side": side, "pool": pool, "pool_size": pool_size, "alpha": alpha}
    got = region_mutual_information(logits, target, **options)
    assert got.item() == pytest.approx(slow_information(logits, target, **options), rel=1e-7)


def test_perfect_scores_by_eigenvalues(blobs):
    """With P = Y, M = S - S (S + aI)^-1 S has the eigenvalues a l / (l + a) for those l of S."""
    target = blobs(4, images=1, size=(20, 20), classes=2, ignored=0)
    logits = torch.full((1, 2, 20, 20), -1e4).scatter_(1, target[:, None], 1e4)
    alpha, expected = 1e-3, 0.0
    for c in range(2):
        y = points_of((target[0] == c).double().numpy(), 3)
        eigenvalues = np.linalg.eigvalsh(y @ y.T).clip(min=0)
        expected += 0.5 * np.log(alpha * eigenvalues / (eigenvalues + alpha) + alpha).sum() / 9
    got = region_mutual_information(logits, target, pool_size=1, alpha=alpha)
    assert got.item() == pytest.approx(expected, rel=1e-6)
    assert region_mutual_information(torch.zeros(1, 2, 20, 20), target, pool_size=1).item() > got.item() + 1


def test_equal_scores_tell_nothing(blobs):
    """What is left is the scatter of the labels alone."""
    target = blobs(5, images=1, size=(12, 13), classes=1, ignored=0.3)
    y = points_of((target[0] == 0).double().numpy(), 2)
    logits = torch.full((1, 1, 12, 13), -1e4)  # scores of 0 where labelled, and elsewhere as well
    expected = 0.5 * np.linalg.slogdet(y @ y.T + 1e-3 * np.eye(4))[1] / 4
    got = region_mutual_information(logits, target, side=2, pool_size=1)
    assert got.item() == pytest.approx(expected, rel=1e-6)


def test_an_absent_class_costs_half_the_logarithm_of_alpha():
    logits = torch.randn(1, 1, 9, 9, requires_grad=True)
    loss = region_mutual_information(logits, torch.full((1, 9, 9), 255), alpha=1e-3)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1e-3) / 2)
    assert not logits.grad.any()


def test_large_saturated_maps_do_not_break_the_factor():
    """Scores without any scatter of their own beside labels with much: S_PP is singular without alpha."""
    target = torch.arange(150)[None, :, None] // 50 % 2 * torch.ones(1, 150, 150).long()
    logits = torch.full((1, 2, 150, 150), 1e4)
    logits[:, 1, :, 75:] = -1e4
    loss = region_mutual_information(logits.requires_grad_(), target, pool_size=1, alpha=1e-8)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_binary_cross_entropy_equals_the_loop(blobs):
    target = blobs(6, size=(5, 7), sigma=1)
    logits = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    total, count = 0.0, 0
    for n in range(2):
        for i in range(5):
            for j in range(7):
                label = int(target[n, i, j])
                if label != 255:
                    count += 1
                    for c in range(4):
                        chance = sigmoid(float(logits[n, c, i, j]))
                        total -= math.log(chance if c == label else 1 - chance)
    assert binary_cross_entropy(logits, target).item() == pytest.approx(total / (count + 1), rel=1e-12)


def test_one_pixel_of_nothing_known():
    """Four classes at a chance of 1/2 cost 4 log 2, over one pixel plus one."""
    assert binary_cross_entropy(torch.zeros(1, 4, 1, 1), torch.ones(1, 1, 1).long()).item() == pytest.approx(
        2 * math.log(2)
    )


@pytest.mark.parametrize(("pool", "pool_size"), [("max", 2), ("mean", 2), ("max", 1)])
def test_gradient(blobs, pool, pool_size):
    target = blobs(7, images=2, size=(7, 6), classes=2, sigma=1)
    logits = torch.randn(2, 2, 7, 6, dtype=torch.float64, requires_grad=True)

    def function(values):
        information = region_mutual_information(values, target, side=2, pool=pool, pool_size=pool_size, alpha=0.1)
        return information, binary_cross_entropy(values, target)

    assert torch.autograd.gradcheck(function, (logits,))


def test_invariances(blobs):
    target = blobs(8, size=(15, 12))
    logits = torch.randn(2, 4, 15, 12, dtype=torch.float64)
    whole = region_mutual_information(logits, target).item()
    images = [region_mutual_information(logits[n : n + 1], target[n : n + 1]).item() for n in range(2)]
    assert sum(images) / 2 == pytest.approx(whole)
    unpooled = region_mutual_information(logits, target, pool_size=1).item()
    turned = region_mutual_information(logits.flip(-1).mT, target.flip(-1).mT, pool_size=1)
    assert turned.item() == pytest.approx(unpooled)


def test_a_map_smaller_than_a_window_is_refused():
    with pytest.raises(ValueError, match="no window of 3x3"):
        region_mutual_information(torch.zeros(1, 2, 5, 30), torch.zeros(1, 5, 30).long())
