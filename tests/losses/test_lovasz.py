from fractions import Fraction
from itertools import pairwise

import pytest
import torch

from segbench.losses.lovasz import jaccard_gradient, lovasz_softmax


def jaccard_loss(mistaken, members):
    """1 - IoU of a class whose members are all found but those mistaken, and which took the others mistaken for it."""
    if not mistaken:
        return 0.0
    return 1 - len(members - mistaken) / len(members | mistaken)


def by_levels(errors, members):
    """The Lovász extension as the integral over t of the set function of {i : m_i > t}, which orders nothing."""
    levels = sorted({0.0, *errors.values()})
    return sum(
        (high - low) * jaccard_loss({i for i, error in errors.items() if error > low}, members)
        for low, high in pairwise(levels)
    )


def by_sorting(errors, members):
    """The same as the sum over sorted errors of m_i g_i (eq. 8 and 9)."""
    order = sorted(errors, key=lambda pixel: -errors[pixel])
    return sum(
        errors[pixel] * (jaccard_loss(set(order[: k + 1]), members) - jaccard_loss(set(order[:k]), members))
        for k, pixel in enumerate(order)
    )


def slow(logits, target, classes, extension):
    probabilities = logits.double().softmax(1)
    labels = {place: int(target[place]) for place in map(tuple, (target != 255).nonzero().tolist())}
    losses = []
    for c in range(logits.shape[1]):
        members = {place for place, label in labels.items() if label == c}
        wrong = {place: float(probabilities[place[0], c, *place[1:]]) for place in labels}
        errors = {place: 1 - wrong[place] if place in members else wrong[place] for place in labels}
        if members or classes == "all":
            losses.append(extension(errors, members))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("extension", [by_levels, by_sorting])
def test_equals_the_definition(blobs, classes, extension):
    target = blobs(0, size=(6, 7), classes=3, sigma=1)
    logits = 2 * torch.randn(2, 5, 6, 7, dtype=torch.float64)  # classes 3 and 4 are absent
    got = lovasz_softmax(logits, target, classes=classes)
    assert got.item() == pytest.approx(slow(logits, target, classes, extension), rel=1e-10)


def test_of_certain_predictions_it_is_one_minus_iou():
    target = torch.tensor([[[0, 0, 0, 1], [1, 1, 2, 255]]])
    prediction = torch.tensor([[[0, 0, 1, 1], [1, 2, 2, 0]]])
    logits = torch.zeros(1, 4, 2, 4).scatter_(1, prediction[:, None], 1e4)
    ious = [2 / 3, 2 / 4, 1 / 2]
    assert lovasz_softmax(logits, target).item() == pytest.approx(1 - sum(ious) / 3)
    assert lovasz_softmax(logits, target, classes="all").item() == pytest.approx((3 - sum(ious)) / 4)


def test_one_pixel():
    """One pixel: the set function is 1 as soon as it is mistaken, and so the loss is its error."""
    logits = torch.tensor([[[[0.0]], [[0.0]], [[0.0]]]])
    assert lovasz_softmax(logits, torch.tensor([[[1]]])).item() == pytest.approx(2 / 3)
    # Of both absent classes the largest, and only, error is 1/3.
    assert lovasz_softmax(logits, torch.tensor([[[1]]]), classes="all").item() == pytest.approx(4 / 9)


def test_gradient_is_that_of_the_set_function():
    errors = torch.tensor([0.9, 0.2, 0.7, 0.4, 0.6])
    members = torch.tensor([True, False, False, True, False])
    labelled = torch.tensor([True, True, True, True, False])
    # In order: member, other, member, other; J of the sets 1/2, 2/3, 3/3, 4/4.
    expected = [1 / 2, 0, 2 / 3 - 1 / 2, 1 - 2 / 3, 0]
    torch.testing.assert_close(jaccard_gradient(errors, members, labelled), torch.tensor(expected))


def test_many_pixels_keep_their_digits():
    """Differences of rounded Jaccard losses near 1 would be wrong in their second digit."""
    count = 200_000
    errors = torch.rand(count)
    members = torch.rand(count) < 0.3
    got = jaccard_gradient(errors, members, torch.ones(count).bool()).double()
    order = errors.argsort(descending=True, stable=True).tolist()
    size, found, mine = int(members.sum()), 0, members.tolist()
    places = {0, 1, 1000, 150_000, count - 2, count - 1}
    for rank, pixel in enumerate(order):
        before = size - found, size + rank - found
        found += mine[pixel]
        if rank in places:
            after = 1 - Fraction(size - found, size + rank + 1 - found)
            assert got[pixel].item() == pytest.approx(float(after - 1 + Fraction(*before)), rel=1e-5, abs=1e-30)
    assert got.sum().item() == pytest.approx(1, rel=1e-5)


def test_autograd(blobs):
    target = blobs(1, images=1, size=(4, 5), classes=3, sigma=1)
    logits = torch.randn(1, 4, 4, 5, dtype=torch.float64, requires_grad=True)

    def function(values):
        return lovasz_softmax(values, target), lovasz_softmax(values, target, classes="all")

    assert torch.autograd.gradcheck(function, (logits,))


def test_pixels_are_taken_together_in_any_order(blobs):
    target = blobs(2, images=2, size=(6, 6))
    logits = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    plain = lovasz_softmax(logits, target).item()
    order = torch.randperm(72)
    flat = logits.transpose(0, 1).flatten(1)[:, order].view(1, 4, 8, 9)
    assert lovasz_softmax(flat, target.flatten()[order].view(1, 8, 9)).item() == pytest.approx(plain)
    apart = [lovasz_softmax(logits[n : n + 1], target[n : n + 1]).item() for n in range(2)]
    assert sum(apart) / 2 != pytest.approx(plain, rel=1e-3)  # it is no mean over images
