import math

import pytest
import torch
from torch.nn import functional as F

from segbench.losses.multi_cross_scale import Samples, draw_samples, scale_contrast


def samples(labels, *, seed=0, dim=4, valid=None):
    labels = torch.as_tensor(labels)
    vectors = torch.randn(len(labels), dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(len(labels), dtype=torch.bool) if valid is None else torch.tensor(valid)
    return Samples(F.normalize(vectors, dim=1), labels, mask)


def slow_contrast(anchors, others, tau, *, within):
    """Section 3.3's formula with a loop for each sum; empty slots left out first."""
    first = [(f, int(y)) for f, y, v in zip(*anchors, strict=True) if v]
    second = [(f, int(y)) for f, y, v in zip(*others, strict=True) if v]
    total = 0.0
    for i, (anchor, label) in enumerate(first):
        scores = [math.exp(float(anchor @ other) / tau) for other, _ in second]
        crowd = sum(s for s, (_, other) in zip(scores, second, strict=True) if other != label)
        positives = [
            s
            for j, (s, (_, other)) in enumerate(zip(scores, second, strict=True))
            if other == label and not (within and i == j)
        ]
        if positives:
            total += sum(-math.log(s / (s + crowd)) for s in positives) / len(positives)
    return total / len(first)


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_equals_the_formula(chunk, tau):
    one = samples([0, 0, 1, 1, 2, 2, 0, 5, 7], valid=[1, 1, 1, 1, 1, 1, 0, 1, 0])
    two = samples([0, 1, 1, 0, 3, 2], seed=1, valid=[1, 1, 1, 1, 1, 0])
    one, two = one._replace(valid=one.valid.bool()), two._replace(valid=two.valid.bool())
    got = scale_contrast(one, one, temperature=tau, within=True, chunk=chunk)
    assert got.item() == pytest.approx(slow_contrast(one, one, tau, within=True), rel=1e-10)
    got = scale_contrast(one, two, temperature=tau, within=False, chunk=chunk)
    assert got.item() == pytest.approx(slow_contrast(one, two, tau, within=False), rel=1e-10)


def test_equal_vectors_give_the_logarithm_of_the_count():
    equal = Samples(torch.ones(6, 1), torch.tensor([0, 0, 1, 1, 1, 1]), torch.ones(6).bool())
    expected = (2 * math.log(1 + 4) + 4 * math.log(1 + 2)) / 6
    assert scale_contrast(equal, equal, within=True).item() == pytest.approx(expected)


@pytest.mark.parametrize("within", [True, False])
def test_gradient(within):
    one, two = samples([0, 0, 1, 2, 1]), samples([0, 1, 1, 3], seed=1)

    def function(first, second):
        anchors, others = one._replace(features=first), two._replace(features=second)
        return scale_contrast(anchors, anchors if within else others, temperature=0.5, within=within, chunk=2)

    inputs = (one.features.requires_grad_(), two.features.requires_grad_())
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("labels", [[3], [0, 1, 2], [4, 4, 4]], ids=["one sample", "no positives", "no negatives"])
def test_degenerate_samples_give_zero(labels):
    one = samples(labels)
    one.features.requires_grad_()
    loss = scale_contrast(one, one, within=True)
    loss.backward()
    assert loss.item() == 0
    assert one.features.grad.isfinite().all()


def test_no_valid_slot_gives_zero():
    one = samples([0, 0, 1], valid=[False] * 3)
    one.features.requires_grad_()
    for others, within in ((one, True), (samples([0, 1]), False)):
        loss = scale_contrast(one, others, within=within)
        loss.backward()
        assert loss.item() == 0
        assert not one.features.grad.any()


def drawn_pixels(embeddings, labels, **options):
    """Which (image, row, column) fill the valid slots: embeddings carry their own address."""
    images, _, height, width = embeddings.shape
    address = torch.arange(images * height * width, dtype=torch.float64).view(images, 1, height, width)
    # The normalised vector (1, address) gives the address back as a quotient.
    marked = torch.cat([torch.ones_like(address), address], 1)
    features, classes, valid = draw_samples(marked, labels, **options)
    found = (features[:, 1] / features[:, 0]).round().long()[valid]
    assert torch.equal(labels.flatten()[found], classes[valid])
    return found


@pytest.mark.parametrize(
    ("per_pair", "per_scale", "min_pixels"),
    [(2500, 10000, 5), (7, 10000, 5), (2500, 60, 5), (2500, 10000, 60), (9, 3, 1)],
)
def test_draws_equally_many_of_each_pair(blobs, per_pair, per_scale, min_pixels):
    labels = blobs(4, images=3, size=(13, 17), classes=4, sigma=1.5)
    pairs = {
        (n, c): int((labels[n] == c).sum()) for n in range(3) for c in range(4) if (labels[n] == c).sum() >= min_pixels
    }
    each = min([*pairs.values(), per_pair])
    if each * len(pairs) > per_scale:
        each = per_scale // len(pairs)
    found = drawn_pixels(
        torch.zeros(3, 2, 13, 17),
        labels,
        num_classes=4,
        per_pair=per_pair,
        per_scale=per_scale,
        min_pixels=min_pixels,
        generator=torch.Generator().manual_seed(0),
    )
    assert len(set(found.tolist())) == len(found) == each * len(pairs)
    groups = [(int(i) // (13 * 17), int(labels.flatten()[i])) for i in found]
    assert all(groups.count(pair) == each for pair in pairs)


def test_draws_depend_on_the_generator_alone(blobs):
    labels = blobs(0, size=(13, 17))
    embeddings = torch.zeros(2, 2, 13, 17)
    draws = [
        drawn_pixels(
            embeddings, labels, num_classes=4, per_pair=6, generator=torch.Generator().manual_seed(seed)
        ).tolist()
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_features_are_unit_vectors_with_gradients(blobs):
    labels = blobs(0, size=(8, 8))
    embeddings = torch.randn(2, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    drawn = draw_samples(embeddings, labels, num_classes=4)
    assert drawn.features.dtype == torch.float32
    torch.testing.assert_close(drawn.features.norm(dim=1), torch.ones(len(drawn.valid)))
    scale_contrast(drawn, drawn, within=True).backward()
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad.any()
    assert not embeddings.grad.movedim(1, -1)[labels == 255].any()


@pytest.mark.parametrize("labelled", [0, 1, 4])
def test_nothing_to_draw(labelled):
    labels = torch.full((1, 4, 4), 255)
    labels[0, 0, :labelled] = 2
    embeddings = torch.randn(1, 3, 4, 4, requires_grad=True)
    drawn = draw_samples(embeddings, labels, num_classes=3)
    assert not drawn.valid.any()
    loss = scale_contrast(drawn, drawn, within=True)
    loss.backward()
    assert loss.item() == 0
    assert not embeddings.grad.any()
