"""What every loss on logits promises: no value is lost on odd batches, and what should not matter does not."""

from functools import partial

import pytest
import torch

from segbench.losses.aaf import affinity_loss, field_sums
from segbench.losses.cross_entropy import cross_entropy
from segbench.losses.hard_pixels import hard_cross_entropy
from segbench.losses.lovasz import lovasz_softmax
from segbench.losses.rmi import binary_cross_entropy, region_mutual_information

CLASSES = 4


def affinity(logits, target):
    fields = [field_sums(logits, target, side=side) for side in (3, 5)]
    weights = torch.full((CLASSES, 2), 0.5)
    return torch.stack(affinity_loss(fields, edge_weights=weights, non_edge_weights=weights)).sum()


LOSSES = {
    "cross-entropy": cross_entropy,
    "aaf": affinity,
    "binary": binary_cross_entropy,
    "rmi": region_mutual_information,
    "hard pixels": partial(hard_cross_entropy, threshold=0.7),
    "hard pixels, at least 200": partial(hard_cross_entropy, threshold=0.2, min_pixels=200),
    "lovasz": lovasz_softmax,
    "lovasz, all": lambda logits, target: lovasz_softmax(logits, target, classes="all"),
}


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]


@pytest.fixture
def logits():
    return torch.randn(2, CLASSES, 15, 18)


def targets(case, target):
    if case == "one class":
        return torch.full_like(target, 2)
    if case == "all ignored":
        return torch.full_like(target, 255)
    if case == "one pixel":
        target = torch.full_like(target, 255)
        target[1, 7, 7] = 3
    if case == "one pixel a class":
        target = torch.full_like(target, 255)
        target[0, 5, 5:9] = torch.arange(4)
    if case == "an image ignored":
        target = target.clone()
        target[0] = 255
    return target


@pytest.mark.parametrize(
    "case", ["blobs", "one class", "all ignored", "one pixel", "one pixel a class", "an image ignored"]
)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_finite(blobs, logits, loss, case, scale, dtype):
    target = targets(case, blobs(0, size=(15, 18)))
    values = (scale * logits.sign() if scale > 1 else scale * logits).to(dtype).requires_grad_()
    got = loss(values, target)
    got.backward()
    assert got.dtype == torch.float32 and got.ndim == 0 and got.isfinite()
    assert values.grad.dtype == dtype and values.grad.isfinite().all()
    assert not values.grad[(target == 255)[:, None].expand_as(values)].any(), "ignored pixels have no gradient"
    if case == "blobs" and scale == 1:
        assert values.grad.any()


def test_half_precision_is_left_at_once(blobs, logits, loss):
    target = blobs(1, size=(15, 18))
    half = logits.bfloat16()
    expected = loss(half.float(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(half, target)
    torch.testing.assert_close(loss(half, target), expected)
    torch.testing.assert_close(inside, expected)


def test_names_of_classes_do_not_matter(blobs, logits, loss):
    target = blobs(2, size=(15, 18))
    order = torch.randperm(CLASSES)
    renamed = torch.where(target == 255, 255, order.argsort()[target.clamp(max=CLASSES - 1)])
    torch.testing.assert_close(loss(logits[:, order], renamed), loss(logits, target))


def test_order_of_images_does_not_matter(blobs, logits, loss):
    target = blobs(3, size=(15, 18))
    torch.testing.assert_close(loss(logits.flip(0), target.flip(0)), loss(logits, target))


def test_ignored_pixels_change_nothing(blobs, logits, loss):
    target = blobs(4, size=(15, 18), ignored=0.3)
    other = torch.where((target == 255)[:, None], 100 * torch.randn_like(logits), logits)
    assert torch.equal(loss(other, target), loss(logits, target))


def test_the_right_answer_costs_less_than_a_wrong_one(blobs, loss):
    target = blobs(5, size=(15, 18), ignored=0.1)
    right = torch.nn.functional.one_hot(target.clamp(max=CLASSES - 1), CLASSES).permute(0, 3, 1, 2).float()
    assert loss(8 * right, target) < loss(8 * right.flip(-1), target)
