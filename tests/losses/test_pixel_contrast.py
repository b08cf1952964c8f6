import math

import pytest
import torch
from torch.nn import functional as F

from segbench.losses.pixel_contrast import (
    AnchorLosses,
    contrast_within,
    draw_anchors,
    draw_views,
    unit_vectors_at,
)


def anchors(labels, *, seed=0, dim=4):
    vectors = torch.randn(len(labels), dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.normalize(vectors, dim=1), torch.as_tensor(labels), torch.ones(len(labels)).bool()


def slow_contrast(features, labels, valid, tau):
    """The mean over i and then over j of -(s_ij - log(e^{s_ij} + sum over k of e^{s_ik})), one number at a time."""
    kept = [i for i in range(len(labels)) if valid[i]]
    s = {(i, j): float(features[i] @ features[j]) / tau for i in kept for j in kept}
    means = []
    for i in kept:
        positives = [j for j in kept if j != i and labels[j] == labels[i]]
        negatives = sum(math.exp(s[i, k]) for k in kept if labels[k] != labels[i])
        terms = [-(s[i, j] - math.log(math.exp(s[i, j]) + negatives)) for j in positives]
        if terms:
            means.append(sum(terms) / len(terms))
    return sum(means) / len(means)


@pytest.mark.parametrize("tau", [0.07, 0.1, 1.0])
def test_equals_the_formula(tau):
    features, labels, valid = anchors([0, 0, 1, 1, 2, 2, 0, 5, 7, 1])
    valid[[3, 6]] = False
    got = contrast_within(features, labels, valid, temperature=tau)
    assert got.mean().item() == pytest.approx(slow_contrast(features, labels, valid, tau), rel=1e-10)
    assert got.counted.tolist() == [True, True, True, False, True, True, False, False, False, True]


def test_equal_vectors_give_the_logarithm_of_the_count():
    features, labels = torch.ones(6, 1), torch.tensor([0, 0, 1, 1, 1, 1])
    got = contrast_within(features, labels, torch.ones(6).bool())
    torch.testing.assert_close(got.values, torch.tensor([math.log(5)] * 2 + [math.log(3)] * 4))


def test_orthogonal_classes():
    """Two classes on two axes: s is 1 / tau to one's own class and 0 to the other."""
    features = torch.eye(2, dtype=torch.float64).repeat_interleave(3, 0)
    got = contrast_within(features, torch.tensor([0, 0, 0, 1, 1, 1]), torch.ones(6).bool(), temperature=0.5)
    assert got.mean().item() == pytest.approx(math.log(1 + 3 * math.exp(-2)))


def test_gradient():
    features, labels, valid = anchors([0, 0, 1, 2, 1, 0])
    valid[5] = False

    def function(vectors):
        return contrast_within(vectors, labels, valid, temperature=0.5).mean()

    assert torch.autograd.gradcheck(function, features.requires_grad_())


def test_gradient_of_one_anchor_by_hand():
    """d/da of the softplus form: -(1/tau) * (1 - p) * (positive - mean of the negatives under the soft-max)."""
    features, _, valid = anchors([0, 0, 1, 1])
    tau, labels = 0.3, torch.tensor([0, 0, 1, 2])
    features.requires_grad_()
    contrast_within(features, labels, valid, temperature=tau).values[0].backward()
    a, positive, *negatives = features.detach()
    weights = torch.stack([(a @ n / tau).exp() for n in negatives])
    own = (a @ positive / tau).exp()
    share = weights.sum() / (own + weights.sum())
    crowd = (weights[:, None] * torch.stack(negatives)).sum(0) / weights.sum()
    torch.testing.assert_close(features.grad[0], -share * (positive - crowd) / tau)


def test_invariances():
    features, labels, valid = anchors([0, 1, 1, 0, 2, 2, 2, 1])
    plain = contrast_within(features, labels, valid).mean().item()
    order = torch.randperm(8)
    shuffled = contrast_within(features[order], labels[order], valid).mean()
    renamed = contrast_within(features, torch.tensor([4, 0, 9])[labels], valid).mean()
    more, others = torch.cat([features, features.flip(0)]), torch.cat([labels, labels])
    unfilled = contrast_within(more, others, torch.arange(16) < 8).mean()
    for other in (shuffled, renamed, unfilled):
        assert other.item() == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("labels", [[3], [0, 1, 2], [4, 4, 4]], ids=["one anchor", "no positives", "no negatives"])
@pytest.mark.parametrize("empty", [False, True])
def test_degenerate_anchors_give_zero(labels, empty):
    features, labels, valid = anchors(labels)
    features.requires_grad_()
    loss = contrast_within(features, labels, valid & (not empty)).mean()
    loss.backward()
    assert loss.item() == 0
    assert not features.grad.any()


def test_mean_counts_only_what_counts():
    losses = AnchorLosses(torch.tensor([2.0, 0.0, 4.0]), torch.tensor([True, False, True]))
    assert losses.mean() == 3
    assert AnchorLosses(torch.zeros(2), torch.zeros(2).bool()).mean() == 0


def views_by_rule(labels, predictions, classes, *, max_anchors, max_views, min_pixels):
    """Steps B to D of the released sampling: number of hard and of easy anchors of each (image, class)."""
    pairs = {}
    for image in range(len(labels)):
        for c in range(classes):
            mine = labels[image] == c
            hard = int((mine & (predictions[image] != c)).sum())
            if int(mine.sum()) >= min_pixels:
                pairs[image, c] = hard, int(mine.sum()) - hard
    n = min(max_anchors // len(pairs), max_views) if pairs else 0
    wanted = {}
    for pair, (hard, easy) in pairs.items():
        if hard >= n / 2 and easy >= n / 2:
            wanted[pair] = n // 2, n - n // 2
        elif hard >= n / 2:
            wanted[pair] = n - easy, easy
        else:
            wanted[pair] = hard, n - hard
    return wanted


@pytest.mark.parametrize(
    ("max_anchors", "max_views", "min_pixels"),
    [(1024, 10, 11), (60, 10, 11), (61, 9, 10), (7, 10, 11), (1024, 1, 2), (2, 10, 11), (1024, 30, 31)],
)
@pytest.mark.parametrize("errors", [0.0, 0.1, 0.9, 1.0])
def test_views_follow_the_rule(blobs, max_anchors, max_views, min_pixels, errors):
    limits = {"max_anchors": max_anchors, "max_views": max_views, "min_pixels": min_pixels}
    for seed in range(3):
        labels = blobs(seed, images=2, size=(13, 17), classes=5, sigma=1.5)
        wrong = torch.rand(labels.shape) < errors
        predictions = torch.where(wrong | (labels == 255), (labels + 1) % 5, labels)
        drawn = draw_views(labels, predictions, num_classes=5, generator=torch.Generator().manual_seed(seed), **limits)
        assert len(drawn.places) == min(max_anchors, 2 * 5 * max_views)
        places = drawn.places[drawn.valid]
        assert len(set(places.tolist())) == len(places)
        assert torch.equal(labels.flatten()[places], drawn.labels[drawn.valid])
        got = {}
        for place in places.tolist():
            pair = place // (13 * 17), int(labels.flatten()[place])
            hard = int(labels.flatten()[place] != predictions.flatten()[place])
            got[pair] = (got.get(pair, (0, 0))[0] + hard, got.get(pair, (0, 0))[1] + 1 - hard)
        wanted = views_by_rule(labels, predictions, 5, **limits)
        assert got == {pair: counts for pair, counts in wanted.items() if sum(counts)}


def test_the_documented_example():
    """15 pairs and a budget of 1,024 give 68 anchors of each, 1,020 in all."""
    labels = torch.arange(15).repeat_interleave(200).view(1, 15, 200)
    drawn = draw_views(labels, torch.zeros_like(labels), num_classes=19, generator=torch.Generator().manual_seed(0))
    assert torch.bincount(drawn.labels[drawn.valid]).tolist() == [68] * 15


def test_share_of_hard_views():
    labels = torch.zeros(1, 10, 20).long()
    predictions = (torch.arange(200) % 2).view(1, 10, 20)
    for share, hard in ((0.0, 0), (0.29, 29), (0.5, 50), (1.0, 100)):
        places = draw_views(labels, predictions, num_classes=2, hard_share=share).places[:100]
        assert int(predictions.flatten()[places].sum()) == hard


@pytest.mark.parametrize("draw", [draw_views, draw_anchors])
def test_draws_depend_on_the_generator_alone(blobs, draw):
    labels, predictions = blobs(0, size=(40, 40), ignored=0), blobs(1, size=(40, 40), ignored=0)
    draws = [
        draw(labels, predictions, num_classes=4, generator=torch.Generator().manual_seed(seed)).places.tolist()
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("per_class", [4, 7, 50, 1000])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_anchors_of_each_class(blobs, per_class, share):
    labels = blobs(3, images=2, size=(13, 17), classes=5, sigma=1.5)
    labels[labels == 2] = 255
    labels[1, 3, 3:6] = 2  # a class of three pixels
    wrong = torch.rand(labels.shape) < 0.1
    predictions = torch.where(wrong | (labels == 255), (labels + 1) % 6, labels)
    drawn = draw_anchors(
        labels,
        predictions,
        num_classes=6,
        per_class=per_class,
        hard_share=share,
        generator=torch.Generator().manual_seed(0),
    )
    by_class, valid = drawn.places.view(6, per_class), drawn.valid.view(6, per_class)
    for c in range(6):
        places = by_class[c][valid[c]]
        mine = labels.flatten() == c
        hard = mine & (predictions.flatten() != c)
        assert len(set(places.tolist())) == len(places) == min(per_class, int(mine.sum()))
        assert mine[places].all()
        assert int(hard[places].sum()) >= min(math.floor(share * per_class), int(hard.sum()))
    assert torch.equal(labels.flatten()[drawn.places[drawn.valid]], drawn.labels[drawn.valid])


def test_half_the_anchors_are_drawn_from_all_pixels():
    """1,000 pixels, 100 of them hard: 10 of 20 anchors are hard ones, and 10 * 90 / 990 of the others are too."""
    labels = torch.zeros(1, 20, 50).long()
    predictions = torch.zeros(1000).long()
    predictions[:100] = 1
    generator = torch.Generator().manual_seed(0)
    hard, times = 0, 400
    chosen = torch.zeros(1000)
    for _ in range(times):
        drawn = draw_anchors(labels, predictions.view(1, 20, 50), num_classes=2, per_class=20, generator=generator)
        places = drawn.places[drawn.valid]
        hard += int((places < 100).sum())
        chosen[places] += 1
    assert hard / times == pytest.approx(10 + 10 * 90 / 990, abs=0.25)  # five standard deviations of the mean
    # An easy pixel is chosen with probability 10 / 990 a time: 4.04 of 400, standard deviation 2.0.
    assert chosen[100:].mean().item() == pytest.approx(4.04, abs=0.1)
    assert chosen[100:].max() < 4.04 + 6 * 2.0


def test_nothing_to_draw():
    ignored = torch.full((2, 4, 4), 255)
    for draw in (draw_views, draw_anchors):
        assert not draw(ignored, ignored * 0, num_classes=3).valid.any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unit_vectors_at_places(layout):
    embeddings = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    embeddings[0, :, 0, 1] = 0
    embeddings = embeddings.to(memory_format=layout).requires_grad_()
    places = torch.tensor([[0, 1], [13, 23]])
    got = unit_vectors_at(embeddings, places)
    whole = F.normalize(embeddings, dim=1).movedim(1, -1).reshape(-1, 5)
    torch.testing.assert_close(got, whole[places])
    got.sum().backward()
    assert embeddings.grad.isfinite().all()
    reached = embeddings.grad.abs().sum(1).flatten().nonzero().flatten().tolist()
    assert reached == [0, 13, 23]  # a vector of zeros has no direction


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_network_that_has_come_apart_is_not_hidden(value):
    """A vector that is none makes the loss none, so that the run stops."""
    embeddings = torch.randn(1, 5, 3, 4)
    embeddings[0, 2, 1, 1] = value
    vectors = unit_vectors_at(embeddings, torch.arange(12))
    assert vectors.isnan().any(1).tolist() == [place == 5 for place in range(12)]
    assert contrast_within(vectors, torch.arange(12) // 6, torch.ones(12).bool()).mean().isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("case", ["plain", "one class", "all ignored", "one pixel", "a pixel a class"])
def test_no_batch_gives_a_nan(dtype, scale, case):
    labels = torch.randint(0, 3, (2, 8, 8))
    if case != "plain":
        labels = torch.full((2, 8, 8), 2 if case == "one class" else 255)
    if case == "one pixel":
        labels[0, 0, 0] = 1
    if case == "a pixel a class":
        labels[0, 0, :3] = torch.arange(3)
    embeddings = (torch.randn(2, 6, 8, 8) * scale).to(dtype).requires_grad_()
    for drawn in (
        draw_views(labels, labels * 0, num_classes=3, max_views=20, min_pixels=1, max_anchors=99),
        draw_anchors(labels, labels * 0, num_classes=3),
    ):
        embeddings.grad = None
        features = unit_vectors_at(embeddings, drawn.places)
        loss = contrast_within(features, drawn.labels, drawn.valid, temperature=0.01).mean()
        loss.backward()
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        assert embeddings.grad.isfinite().all()
        assert not embeddings.grad.movedim(1, -1)[labels == 255].any()
        assert (loss > 0) == (case == "plain")


def test_autocast_does_not_round_the_loss():
    features, labels, valid = anchors([0, 1, 1, 0, 2, 2])
    features = features.float()
    plain = contrast_within(features, labels, valid).mean()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert contrast_within(features, labels, valid).mean() == plain
