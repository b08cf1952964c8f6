"""Label-based contrast against double loops in float64, the published constants, and what must not matter."""

import math

import pytest
import torch
from torch.nn import functional as F

from segbench.losses.label_contrast import label_contrast

C, D, N, P = 4, 5, 3, 14


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(0)
    first, second = (
        F.normalize(torch.randn(N, P, D, generator=generator, dtype=torch.float64), dim=2).requires_grad_()
        for _ in range(2)
    )
    labels = torch.randint(0, 3, (N, P), generator=generator)
    labels[0, :4], labels[1, 2], labels[2] = 255, 3, 1  # ignored, alone in its image, an image of one class
    return first, second, labels


def sim(f, g, temperature=0.07):
    return torch.dot(f, g) / temperature


def paper(first, second, labels, partners=None):
    """Equations of the walk-through of arXiv 2012.06985: one image after the other, one pair after the other."""
    total = 0.0
    for n in range(N):
        keys = [(second[n, q], labels[n, q], True) for q in range(P)]
        if partners is not None:
            j = partners[n]
            keys += [(second[j, q], labels[j, q], False) for q in range(P)]
        keys = [key for key in keys if key[1] != 255]
        losses = []
        for p in range(P):
            if labels[n, p] == 255:
                continue
            positives = [key for key in keys if key[1] == labels[n, p]]
            denominator = sum(torch.exp(sim(first[n, p], g)) for g, y, own in keys if own or y == labels[n, p])
            terms = [torch.log(torch.exp(sim(first[n, p], g)) / denominator) for g, _, _ in positives]
            losses.append(-sum(terms) / len(positives))
        total = total + sum(losses) / max(1, len(losses))
    return total / N


def released(pairs):
    """The published loss on one list of (feature, label, image) a picture."""
    total = 0.0
    for rows in pairs:
        losses = []
        for f, y, image in rows:
            if y == 255:
                continue
            positives = [g for g, z, _ in rows if z == y]
            negatives = [g for g, z, i in rows if z not in (y, 255) and i == image]
            below = sum((torch.exp(sim(f, g)) for g in negatives), start=torch.zeros((), dtype=torch.float64))
            terms = [-torch.log(torch.exp(sim(f, g)) / (torch.exp(sim(f, g)) + below)) for g in positives]
            losses.append(sum(terms) / len(terms))
        total = total + sum(losses) / max(1, len(losses))
    return total / len(pairs)


def rows(features, labels, n, image):
    return [(features[n, q], int(labels[n, q]), image) for q in range(P)]


def slow(form, first, second, labels, partners):
    if form == "paper":
        return paper(first, second, labels, partners)
    if partners is None:
        return sum(released([rows(view, labels, n, 0) for n in range(N)]) for view in (first, second))
    return released([rows(first, labels, n, 0) + rows(second, labels, partners[n], 1) for n in range(N)])


@pytest.mark.parametrize("form", ["paper", "released"])
@pytest.mark.parametrize("partners", [None, [1, 2, 0], [0, 2, 1]])
@pytest.mark.parametrize("chunk_bytes", [10**9, 1, 2500])
def test_against_double_loops(pixels, form, partners, chunk_bytes):
    first, second, labels = pixels
    images = None if partners is None else torch.tensor(partners)
    loss = label_contrast(first, second, labels, num_classes=C, form=form, partners=images, chunk_bytes=chunk_bytes)
    wanted = slow(form, first, second, labels, partners)
    torch.testing.assert_close(loss, wanted)
    ours = torch.autograd.grad(loss, (first, second), retain_graph=True)
    theirs = torch.autograd.grad(wanted, (first, second))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    assert ours[0].abs().max() > 0


def test_constants_of_the_published_test():
    """16 pixels in a batch of two, features equal to the label and twice the label, temperature 1.

    The published test gives the loss of one view alone within the image.
    """
    labels = torch.tensor([-2, -2, -1, -1, *[1] * 4, *[2] * 4, *[3] * 4]).repeat(2, 1)
    first = labels[..., None].double()
    given = {"num_classes": 4, "form": "released", "temperature": 1.0}
    within = label_contrast(first, first, labels, **given) / 2
    across = label_contrast(first, 2 * first, labels, partners=torch.tensor([1, 0]), **given)
    assert within.item() == pytest.approx(2.4503216, abs=1e-6)
    assert across.item() == pytest.approx(5.46027374, abs=1e-6)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_what_must_not_matter(pixels, form):
    first, second, labels = (each.detach() for each in pixels)
    loss = label_contrast(first, second, labels, num_classes=C, form=form)
    order = torch.randperm(P)
    renamed = torch.tensor([2, 3, 1, 0])
    other = torch.where(labels == 255, -1, renamed[labels.clamp(max=3)])
    again = label_contrast(first[:, order], second[:, order], other[:, order], num_classes=C, form=form)
    torch.testing.assert_close(again, loss)
    halves = [
        label_contrast(f[None], s[None], y[None], num_classes=C, form=form)
        for f, s, y in zip(first, second, labels, strict=True)
    ]
    torch.testing.assert_close(torch.stack(halves).mean(), loss)
    noisy = first.clone()
    noisy[labels == 255] = torch.randn(D, dtype=torch.float64)
    torch.testing.assert_close(label_contrast(noisy, second, labels, num_classes=C, form=form), loss)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_nothing_labelled_is_zero(form):
    first = torch.randn(2, P, D, requires_grad=True)
    labels = torch.full((2, P), 255)
    loss = label_contrast(first, first, labels, num_classes=C, form=form)
    loss.backward()
    assert loss.item() == 0 and not first.grad.any()


def test_one_class_alone():
    """The paper's form still has the keys in its denominator; the released one has no negatives and is 0."""
    features = torch.zeros(1, P, D)
    features[..., 0] = 1
    labels = torch.zeros(1, P, dtype=torch.int64)
    values = {
        form: label_contrast(features, features, labels, num_classes=C, form=form).item()
        for form in ("paper", "released")
    }
    assert values["paper"] == pytest.approx(math.log(P), abs=1e-5) and values["released"] == 0


@pytest.mark.parametrize("form", ["paper", "released"])
def test_float32_with_the_largest_products(form):
    """Products over tau reach +-14.3; half precision would overflow in the exponential."""
    generator = torch.Generator().manual_seed(1)
    first = F.normalize(torch.randn(2, 60, 8, generator=generator), dim=2)
    labels = torch.randint(0, C, (2, 60), generator=generator)
    exact = label_contrast(first.double(), -first.double(), labels, num_classes=C, form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = label_contrast(first, -first, labels, num_classes=C, form=form)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_nothing_waits_for_the_device(form):
    first = torch.zeros(2, P, D, requires_grad=True, device="meta")
    labels = torch.zeros(2, P, dtype=torch.int64, device="meta")
    partners = torch.zeros(2, dtype=torch.int64, device="meta")
    given = {"num_classes": C, "form": form, "chunk_bytes": 400}
    loss = label_contrast(first, first, labels, **given)
    (loss + label_contrast(first, first, labels, partners=partners, **given)).backward()
