import math

import pytest
import torch

from segbench.losses.aaf import affinity_loss, field_sums


def clip(value):
    return max(value, 1e-4)


def slow_sums(logits, target, side, margin):
    """Losses and counts by (kind, class of the centre), one triple at a time."""
    probabilities = logits.double().softmax(1).tolist()
    images, classes, height, width = logits.shape
    reach = side // 2
    losses = {(kind, c): 0.0 for kind in ("edge", "non_edge") for c in range(classes)}
    counts = {"edge": 0, "non_edge": 0}

    def label(n, i, j):
        inside = 0 <= i < height and 0 <= j < width
        return int(target[n, i, j]) if inside and int(target[n, i, j]) < classes else None

    for n in range(images):
        for i in range(height):
            for j in range(width):
                for y in (-reach, 0, reach):
                    for x in (-reach, 0, reach):
                        mine, other, opposite = label(n, i, j), label(n, i + y, j + x), label(n, i - y, j - x)
                        if (y, x) == (0, 0) or None in (mine, other, opposite):
                            continue
                        for c in range(classes):
                            p_i, p_j = probabilities[n][c][i][j], probabilities[n][c][i + y][j + x]
                            divergence = clip(p_j) * math.log(clip(p_j) / clip(p_i))
                            divergence += clip(1 - p_j) * math.log(clip(1 - p_j) / clip(1 - p_i))
                            kind = "edge" if (mine == c) != (other == c) else "non_edge"
                            losses[kind, mine] += max(0.0, margin - divergence) if kind == "edge" else divergence
                            counts[kind] += 1
    return losses, counts


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("scale", [1.0, 6.0], ids=["mild", "over the margin"])
def test_equals_the_loop(blobs, side, scale):
    target = blobs(side, size=(9, 8), classes=3, sigma=1.5)
    logits = scale * torch.randn(2, 3, 9, 8, dtype=torch.float64)
    losses, counts = slow_sums(logits, target, side, 3.0)
    got = field_sums(logits, target, side=side)
    assert (got.edges.item(), got.non_edges.item()) == (counts["edge"], counts["non_edge"])
    for kind in ("edge", "non_edge"):
        assert counts[kind] > 0
        expected = torch.tensor([losses[kind, c] for c in range(3)], dtype=torch.float64)
        torch.testing.assert_close(getattr(got, kind), expected, rtol=1e-10, atol=1e-10)


def test_the_means_are_taken_over_all_triples_of_a_field(blobs):
    """Weights go by the class of the centre and by the field; the mean counts triples, not weights."""
    target = blobs(1, size=(9, 8), classes=3, sigma=1.5)
    logits = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    weights = torch.rand(2, 3, 2, dtype=torch.float64)
    got = affinity_loss(
        [field_sums(logits, target, side=side) for side in (3, 5)],
        edge_weights=weights[0],
        non_edge_weights=weights[1],
    )
    for kind, table, value in zip(("edge", "non_edge"), weights.tolist(), got, strict=True):
        expected = 0.0
        for field, side in enumerate((3, 5)):
            losses, counts = slow_sums(logits, target, side, 3.0)
            expected += sum(table[c][field] * losses[kind, c] for c in range(3)) / counts[kind]
        assert value.item() == pytest.approx(expected, rel=1e-10)


def test_equal_predictions_cost_the_margin_on_edges_and_nothing_elsewhere():
    target = torch.tensor([[[0, 0, 1, 1]] * 4])
    got = field_sums(torch.zeros(1, 2, 4, 4), target, margin=2.5)
    # Centres (1..2, 1..2): of eight neighbours each has three of the other class; and pairs along the border. In
    # rows 0 and 3 the only directions with both neighbours inside are left and right: centres (0, 1), (0, 2).
    pairs = 4 * 3 + 4 * 1
    assert got.edges.item() == 2 * pairs
    torch.testing.assert_close(got.edge, torch.full((2,), 2.5 * pairs))
    assert not got.non_edge.any()


def test_the_largest_divergence():
    """Certain and opposite predictions within one label: 1 log(1 / 1e-4) + 1e-4 log(1e-4 / 1) for either class."""
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 0, 0, 1], logits[0, 1, 0, [0, 2]] = 1e4, 1e4
    got = field_sums(logits, torch.zeros(1, 1, 3).long())
    assert got.non_edges == 4  # one centre, left and right, two classes
    assert got.non_edge[0].item() / 4 == pytest.approx((1 - 1e-4) * math.log(1e4), rel=1e-6)


def test_a_pair_needs_the_pixel_opposite_as_well():
    logits = torch.randn(1, 2, 1, 4)
    assert field_sums(logits, torch.tensor([[[0, 0, 0, 255]]])).non_edges == 2 * 2  # centre 1 alone
    assert field_sums(logits, torch.tensor([[[255, 0, 0, 255]]])).non_edges == 0
    assert field_sums(logits, torch.tensor([[[0, 0, 0, 0]]])).non_edges == 2 * 2 * 2


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (4, 6)])
def test_a_field_larger_than_the_map_has_no_pairs_across_it(size):
    logits = torch.randn(1, 2, *size, requires_grad=True)
    got = field_sums(logits, torch.zeros(1, *size).long(), side=7)
    height, width = size
    assert got.non_edges == 2 * 2 * height * max(width - 6, 0)
    sum(affinity_loss([got], edge_weights=torch.ones(2, 1), non_edge_weights=torch.ones(2, 1))).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_gradient(blobs, scale):
    target = blobs(2, images=1, size=(5, 3), classes=3, sigma=1)
    logits = (scale * torch.randn(1, 3, 5, 3, dtype=torch.float64)).requires_grad_()
    weights = torch.rand(3, 1, dtype=torch.float64, requires_grad=True)

    def function(values, factors):
        fields = [field_sums(values, target, side=3)]
        return affinity_loss(fields, edge_weights=factors, non_edge_weights=1 - factors)

    assert torch.autograd.gradcheck(function, (logits, weights))


def test_sums_add_up_over_images_and_do_not_mind_the_way_up(blobs):
    target = blobs(3, size=(10, 9))
    logits = torch.randn(2, 4, 10, 9, dtype=torch.float64)
    whole = field_sums(logits, target, side=5)
    parts = [field_sums(logits[n : n + 1], target[n : n + 1], side=5) for n in range(2)]
    for value, one, other in zip(whole, *parts, strict=True):
        torch.testing.assert_close(value, one + other)
    for turned in (field_sums(logits.flip(-1), target.flip(-1), side=5), field_sums(logits.mT, target.mT, side=5)):
        for value, other in zip(whole, turned, strict=True):
            torch.testing.assert_close(value, other)
