"""The cross-entropy of hard pixels against a slow loop that sorts the pixels by their probability."""

import math

import pytest
import torch

from segbench.losses.cross_entropy import cross_entropy
from segbench.losses.hard_pixels import hard_cross_entropy

CLASSES = 4
WEIGHTS = [0.5, 1.0, 2.0, 0.25]


def slow(logits, target, *, threshold, min_pixels, weights=None):
    """Pixels one by one, the least probable first; in float64."""
    found = []
    for image in range(len(target)):
        for row in range(target.shape[1]):
            for column in range(target.shape[2]):
                label = target[image, row, column].item()
                if label == 255:
                    continue
                scores = logits[image, :, row, column].tolist()
                shift = max(scores)
                total = sum(math.exp(score - shift) for score in scores)
                found.append((math.exp(scores[label] - shift) / total, 1.0 if weights is None else weights[label]))
    found.sort()
    last = found[min(min_pixels, len(found)) - 1][0] if min_pixels and found else -1.0
    kept = [(p, weight) for p, weight in found if p < threshold or p <= last]
    if not kept:
        return 0.0, 0
    return -sum(weight * math.log(p) for p, weight in kept) / sum(weight for _, weight in kept), len(kept)


@pytest.fixture
def confident(blobs):
    """Logits that are right about half of the time, and labels, a fifth of them ignored."""
    target = blobs(0, size=(9, 11))
    seen = torch.nn.functional.one_hot(target.clamp(max=CLASSES - 1), CLASSES).permute(0, 3, 1, 2)
    return 2 * seen + 2 * torch.randn(2, CLASSES, 9, 11, dtype=torch.float64), target


@pytest.mark.parametrize("threshold", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("min_pixels", [0, 1, 60, 120, 158, 10**6])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_is_the_slow_loop(confident, threshold, min_pixels, weights):
    logits, target = confident
    expected, kept = slow(logits, target, threshold=threshold, min_pixels=min_pixels, weights=weights)
    logits.requires_grad_()
    got = hard_cross_entropy(
        logits,
        target,
        threshold=threshold,
        min_pixels=min_pixels,
        class_weights=None if weights is None else torch.tensor(weights),
    )
    got.backward()
    assert got.item() == pytest.approx(expected, rel=1e-10)
    assert logits.grad.abs().sum(1).bool().sum() == kept, "only what counts has a gradient"


def test_either_rule_decides_somewhere(confident):
    """The cases above are of both kinds: the threshold alone, and more than it gives."""
    logits, target = confident
    alone = slow(logits, target, threshold=0.7, min_pixels=0)[1]
    assert 60 < alone < 120 < (target != 255).sum()
    assert slow(logits, target, threshold=0.7, min_pixels=60)[1] == alone
    assert slow(logits, target, threshold=0.7, min_pixels=120)[1] == 120


def test_ties_all_count():
    """Four pixels at a probability of 1/2 exactly, one harder, one easier; class 1 is true."""
    harder, easier = math.log(3), -math.log(3)
    logits = torch.zeros(1, 2, 1, 6, dtype=torch.float64)
    logits[0, 0, 0] = torch.tensor([0, 0, 0, 0, harder, easier], dtype=torch.float64)
    target = torch.ones(1, 1, 6, dtype=torch.int64)
    for count, expected in (
        (1, math.log(4)),
        (2, (math.log(4) + 4 * math.log(2)) / 5),
        (5, (math.log(4) + 4 * math.log(2)) / 5),
        (6, (math.log(4) + 4 * math.log(2) + math.log(4 / 3)) / 6),
    ):
        got = hard_cross_entropy(logits, target, threshold=0.3, min_pixels=count).item()
        assert got == pytest.approx(expected, rel=1e-12), count


def test_fewer_labelled_than_the_minimum_all_count(confident):
    logits, target = confident
    few = torch.full_like(target, 255)
    few[0, 0, :3] = torch.tensor([0, 1, 2])
    got = hard_cross_entropy(logits, few, threshold=0.01, min_pixels=50)
    torch.testing.assert_close(got, cross_entropy(logits, few))


def test_nothing_labelled_and_nothing_hard_cost_nothing(confident):
    logits, target = confident
    logits.requires_grad_()
    for labels, minimum in ((torch.full_like(target, 255), 50), (target, 0)):
        sure = logits + 100 * torch.nn.functional.one_hot(target.clamp(max=3), CLASSES).permute(0, 3, 1, 2)
        loss = hard_cross_entropy(sure, labels, threshold=0.7, min_pixels=minimum)
        loss.backward()
        assert loss.item() == 0 and not logits.grad.any()


def test_what_is_not_a_number_is_not_lost(confident):
    logits, target = confident
    target[0, 3, 3] = 1
    logits[0, 2, 3, 3] = math.nan
    for minimum in (0, 5):
        assert hard_cross_entropy(logits, target, threshold=0.7, min_pixels=minimum).isnan()


def test_sizes_must_agree(confident):
    logits, target = confident
    with pytest.raises(ValueError, match="does not fit"):
        hard_cross_entropy(logits, target[:, 1:], threshold=0.7)
