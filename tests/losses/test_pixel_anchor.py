import math

import pytest
import torch
from torch.nn import functional as F

from segbench.losses.pixel_anchor import (
    Anchors,
    class_means,
    draw_positives,
    finish_anchors,
    negative_masks,
    pixel_anchor_loss,
    share_anchors,
    unit_vectors,
)

CLASSES = 4


def unit(*shape, seed=0):
    vectors = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.normalize(vectors, dim=1)


def loss_of(
    embeddings, labels, selected, *, predictions=None, role="union", tau=0.1, classes=CLASSES, **anchor_options
):
    anchors = finish_anchors(class_means(unit_vectors(embeddings), labels, num_classes=classes), **anchor_options)
    predictions = labels if predictions is None else predictions
    negatives = negative_masks(selected, labels, predictions, num_classes=classes, role=role)
    return pixel_anchor_loss(unit_vectors(embeddings), labels, anchors, negatives, temperature=tau)


def slow_loss(embeddings, labels, selected, predictions, role, tau, *, normalise=True, classes=CLASSES):
    """Supplement eq. 4-5 with one Python loop for each sum."""
    pixels = [
        (embeddings[n, :, i, j], int(labels[n, i, j]), bool(selected[n, i, j]), int(predictions[n, i, j]))
        for n in range(len(labels))
        for i in range(labels.shape[1])
        for j in range(labels.shape[2])
    ]
    means = []
    for n in range(classes):
        positives = [vector for vector, label, _, _ in pixels if label == n]
        if role == "literal":
            negatives = [vector for vector, label, chosen, _ in pixels if chosen and label == n]
        else:
            negatives = [
                vector
                for vector, label, chosen, prediction in pixels
                if chosen and label not in (n, 255) and (role == "union" or prediction == n)
            ]
        if not positives or not negatives:
            continue
        anchor = sum(positives) / len(positives)
        if normalise:
            anchor = anchor / float((anchor**2).sum()) ** 0.5
        terms = []
        for vector in positives:
            own = math.exp(float(anchor @ vector) / tau)
            others = sum(math.exp(float(anchor @ other) / tau) for other in negatives)
            terms.append(-math.log(own / (own + others)))
        means.append(sum(terms) / len(terms))
    return sum(means) / len(means)


@pytest.fixture
def scene(blobs):
    labels = blobs(0, size=(6, 7), classes=CLASSES, sigma=1)
    predictions = blobs(1, size=(6, 7), classes=CLASSES, sigma=1, ignored=0)
    selected = (labels != predictions) & (labels != 255) & (torch.rand(labels.shape) < 0.7)
    return unit(2, 5, 6, 7), labels, selected, predictions


@pytest.mark.parametrize("role", ["union", "fp_only", "literal"])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("tau", [0.07, 1.0])
def test_equals_the_formula(scene, role, normalise, tau):
    embeddings, labels, selected, predictions = scene
    got = loss_of(embeddings, labels, selected, predictions=predictions, role=role, tau=tau, normalise=normalise)
    expected = slow_loss(embeddings, labels, selected, predictions, role, tau, normalise=normalise)
    assert got.item() == pytest.approx(expected, rel=1e-9)


def test_equal_vectors_give_the_logarithm_of_the_count():
    embeddings = F.normalize(torch.ones(1, 8, 4, 6), dim=1)
    labels = torch.zeros(1, 4, 6).long()
    labels[..., 3:] = 1
    selected = torch.zeros(1, 4, 6).bool()
    selected[0, :, 2:4] = True  # four pixels of either class
    assert loss_of(embeddings, labels, selected, classes=2).item() == pytest.approx(math.log(1 + 4), rel=1e-6)
    selected[0, :2, 2] = False  # class 0 keeps four negatives, class 1 has two
    got = loss_of(embeddings, labels, selected, classes=2).item()
    assert got == pytest.approx((math.log(1 + 4) + math.log(1 + 2)) / 2, rel=1e-6)


def test_no_negatives_give_zero(scene):
    embeddings, labels, selected, _ = scene
    embeddings.requires_grad_()
    loss = loss_of(embeddings, labels, torch.zeros_like(selected))
    loss.backward()
    assert loss.item() == 0
    assert not embeddings.grad.any()


def test_classes_without_negatives_do_not_count(scene):
    embeddings, labels, _, predictions = scene
    labels = torch.where(labels == 3, 255, labels)
    selected = labels == 1  # negatives for 0 and 2, none for 1
    got = loss_of(embeddings, labels, selected, predictions=predictions)
    assert got.item() == pytest.approx(slow_loss(embeddings, labels, selected, predictions, "union", 0.1))


@pytest.mark.parametrize("role", ["union", "fp_only", "literal"])
def test_gradient(scene, role):
    embeddings, labels, selected, predictions = (values[:, ..., :3, :4] for values in scene)

    def function(vectors):
        return loss_of(vectors, labels, selected, predictions=predictions, role=role, tau=0.5)

    assert torch.autograd.gradcheck(function, embeddings.clone().requires_grad_())


def test_gradient_of_the_anchor_is_the_corrected_equation_6(scene):
    """-(1/(tau |V+|)) sum over v+ of ((1 - p+) v+ - sum over v- of p- v-), for each anchor of N."""
    embeddings, labels, selected, predictions = scene
    tau = 0.3
    anchors = finish_anchors(class_means(unit_vectors(embeddings), labels, num_classes=CLASSES))
    vectors = anchors.vectors.clone().requires_grad_()
    negatives = negative_masks(selected, labels, predictions, num_classes=CLASSES)
    pixel_anchor_loss(
        unit_vectors(embeddings), labels, anchors._replace(vectors=vectors), negatives, temperature=tau
    ).backward()
    pixels, flat = embeddings.movedim(1, -1).reshape(-1, 5), labels.flatten()
    for n in range(CLASSES):
        positive = pixels[flat == n]
        negative = pixels[selected.flatten() & (flat != n)]
        others = (negative @ vectors[n].detach() / tau).exp()
        expected = torch.zeros(5, dtype=torch.float64)
        for vector in positive:
            own = (vector @ vectors[n].detach() / tau).exp()
            whole = own + others.sum()
            expected += (1 - own / whole) * vector - (others / whole) @ negative
        torch.testing.assert_close(vectors.grad[n], -expected / (tau * CLASSES * len(positive)))


def test_unit_vectors():
    embeddings = torch.randn(2, 5, 3, 4, dtype=torch.bfloat16)
    embeddings[0, :, 1, 2] = 0
    embeddings.requires_grad_()
    values, factor = unit_vectors(embeddings)
    expected = F.normalize(embeddings.float(), dim=1).flatten(2)
    torch.testing.assert_close(values * factor, expected)
    (values * factor).square().sum().backward()
    assert embeddings.grad.isfinite().all()
    assert not embeddings.grad[0, :, 1, 2].any()


def test_class_means_equal_a_loop(scene):
    embeddings, labels, _, _ = scene
    means, present = class_means(unit_vectors(embeddings), labels, num_classes=6)
    assert present.tolist() == [True] * 4 + [False] * 2
    pixels = embeddings.movedim(1, -1)
    for n in range(4):
        torch.testing.assert_close(means[n], pixels[labels == n].mean(0))
    assert means.isfinite().all()


def test_sharing():
    own = Anchors(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), torch.tensor([True, True, False]))
    shared = Anchors(torch.tensor([[0.0, 1.0], [9.0, 9.0], [1.0, 1.0]]), torch.tensor([True, False, True]))
    vectors, present = share_anchors(own, shared, weights=(0.3, 0.7))
    torch.testing.assert_close(vectors, torch.tensor([[0.3, 0.7], [0.0, 1.0], [0.0, 0.0]]))
    assert present.tolist() == [True, True, False]
    same = share_anchors(own, own, weights=(0.3, 0.7))
    torch.testing.assert_close(same.vectors, own.vectors)


def test_finished_anchors():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    anchors = Anchors(vectors, torch.tensor([True, False]))
    torch.testing.assert_close(finish_anchors(anchors).vectors, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert finish_anchors(anchors, normalise=False).vectors is vectors
    assert not finish_anchors(anchors, detach=True).vectors.requires_grad


def test_detached_anchors_are_constants(scene):
    embeddings, labels, selected, predictions = scene
    negatives = negative_masks(selected, labels, predictions, num_classes=CLASSES)
    constant = finish_anchors(class_means(unit_vectors(embeddings), labels, num_classes=CLASSES))
    grads = []
    for anchors in (None, constant):
        vectors = embeddings.clone().requires_grad_()
        used = anchors or finish_anchors(class_means(unit_vectors(vectors), labels, num_classes=CLASSES), detach=True)
        pixel_anchor_loss(unit_vectors(vectors), labels, used, negatives).backward()
        grads.append(vectors.grad)
    assert torch.equal(*grads)


def test_positives(scene):
    embeddings, labels, selected, predictions = scene
    positives = draw_positives(labels, 3, num_classes=CLASSES, generator=torch.Generator().manual_seed(0))
    assert not positives[labels == 255].any()
    assert [int((positives & (labels == n)).sum()) for n in range(CLASSES)] == [3] * CLASSES
    anchors = finish_anchors(class_means(unit_vectors(embeddings), labels, num_classes=CLASSES))
    negatives = negative_masks(selected, labels, predictions, num_classes=CLASSES)
    got = pixel_anchor_loss(unit_vectors(embeddings), labels, anchors, negatives, temperature=1.0, positives=positives)
    pixels, means = embeddings.movedim(1, -1), []
    for n in range(CLASSES):
        others = (pixels[selected & (labels != n)] @ anchors.vectors[n]).exp().sum()
        own = (pixels[positives & (labels == n)] @ anchors.vectors[n]).exp()
        means.append(-(own / (own + others)).log().mean())
    assert got.item() == pytest.approx(float(sum(means) / len(means)))
    everything = draw_positives(labels, 10**6, num_classes=CLASSES)
    assert torch.equal(everything, labels != 255)


def test_invariances(scene):
    embeddings, labels, selected, predictions = scene
    plain = loss_of(embeddings, labels, selected, predictions=predictions, role="fp_only").item()
    table = torch.full((256,), 255)
    table[:CLASSES] = torch.tensor([2, 0, 3, 1])
    renamed = loss_of(embeddings, table[labels], selected, predictions=table[predictions], role="fp_only")
    swapped = loss_of(
        *(values.flip(0) for values in (embeddings, labels, selected)),
        predictions=predictions.flip(0),
        role="fp_only",
    )
    ignored = (labels == 255)[:, None]
    noisy = torch.where(ignored, unit(2, 5, 6, 7, seed=9), embeddings)
    unseen = loss_of(noisy, labels, selected, predictions=predictions, role="fp_only")
    more_classes = loss_of(embeddings, labels, selected, predictions=predictions, role="fp_only", classes=7)
    for other in (renamed, swapped, unseen, more_classes):
        assert other.item() == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("case", ["one class", "all ignored", "one pixel", "two pixels", "large"])
def test_degenerate_batches_stay_finite(dtype, case):
    labels = torch.full((2, 4, 4), 255)
    if case == "one class":
        labels[:] = 1
    if case == "one pixel":
        labels[0, 0, 0] = 2
    if case == "two pixels":
        labels[0, 0, :2] = torch.tensor([0, 3])
    embeddings = torch.randn(2, 8, 4, 4)
    if case == "large":
        labels[0], labels[1] = 0, 1
        embeddings = embeddings * 1e4
    embeddings = embeddings.to(dtype).requires_grad_()
    loss = loss_of(embeddings, labels, labels != 255)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert embeddings.grad.isfinite().all()
    assert (loss > 0) == (case in ("two pixels", "large"))


def test_autocast_does_not_round_the_loss(scene):
    embeddings, labels, selected, predictions = scene
    embeddings = embeddings.float()
    plain = loss_of(embeddings, labels, selected, predictions=predictions)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss_of(embeddings, labels, selected, predictions=predictions) == plain
