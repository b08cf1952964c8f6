"""The loss of SegSort against a loop over pixels and prototypes in float64, by hand, and what must not matter."""

import math

import pytest
import torch
from torch.nn import functional as F

from segbench.losses.segsort import segments_of, segsort_loss

CLASSES, CLUSTERS = 4, 5


def embeddings_like(labels, *, dim=3):
    return F.normalize(torch.randn(len(labels), dim, *labels.shape[1:], dtype=torch.float64), dim=1)


def clusters_like(labels):
    return torch.randint(0, CLUSTERS, labels.shape)


def loss_of(embeddings, labels, clusters, *, earlier=None, concentration=10.0, chunk=None):
    segments = segments_of(embeddings, labels, clusters, num_clusters=CLUSTERS, num_classes=CLASSES)
    return segsort_loss(segments, earlier=earlier, concentration=concentration, chunk=chunk)


def slow_prototypes(embeddings, labels, clusters):
    """(image, cluster, class) to the normalised sum of its pixels."""
    sums = {}
    for n, y, x in labels.ne(255).nonzero().tolist():
        key = (n, int(clusters[n, y, x]), int(labels[n, y, x]))
        pixel = embeddings[n, :, y, x].tolist()
        sums[key] = [a + b for a, b in zip(sums.get(key, [0.0] * len(pixel)), pixel, strict=True)]
    return {key: [value / math.sqrt(sum(v * v for v in total)) for value in total] for key, total in sums.items()}


def slow_loss(embeddings, labels, clusters, memory, concentration):
    prototypes = slow_prototypes(embeddings, labels, clusters)
    keys = [(key, vector, key[2]) for key, vector in prototypes.items()]
    if memory is not None:
        keys += [(None, v, c) for v, c in zip(memory[0].tolist(), memory[1].tolist(), strict=True)]
    losses = []
    for n, y, x in labels.ne(255).nonzero().tolist():
        own = (n, int(clusters[n, y, x]), int(labels[n, y, x]))
        pixel = embeddings[n, :, y, x].tolist()
        scores = [math.exp(concentration * sum(a * b for a, b in zip(pixel, v, strict=True))) for _, v, _ in keys]
        same = sum(s for s, (key, _, c) in zip(scores, keys, strict=True) if c == own[2] and key != own)
        if not any(c == own[2] and key != own for key, _, c in keys):
            same = next(s for s, (key, _, _) in zip(scores, keys, strict=True) if key == own)
        other = sum(s for s, (_, _, c) in zip(scores, keys, strict=True) if c != own[2])
        losses.append(-math.log(same / (same + other)))
    return sum(losses) / len(losses)


@pytest.fixture
def memory():
    """Prototypes of earlier batches, of all classes but the last."""
    return F.normalize(torch.randn(6, 3, dtype=torch.float64), dim=1), torch.tensor([0, 0, 1, 2, 2, 2])


@pytest.mark.parametrize("concentration", [1.0, 10.0])
@pytest.mark.parametrize("chunk", [None, 13])
@pytest.mark.parametrize("remembers", [False, True])
def test_equals_the_loop(blobs, memory, concentration, chunk, remembers):
    labels = blobs(0, size=(9, 8))
    embeddings, clusters = embeddings_like(labels), clusters_like(labels)
    memory = memory if remembers else None
    expected = slow_loss(embeddings, labels, clusters, memory, concentration)
    got = loss_of(embeddings, labels, clusters, earlier=memory, concentration=concentration, chunk=chunk)
    assert got.dtype == torch.float64
    assert got.item() == pytest.approx(expected, rel=1e-12)


def test_prototypes_equal_the_loop(blobs):
    labels = blobs(1, size=(9, 8))
    embeddings, clusters = embeddings_like(labels), clusters_like(labels)
    segments = segments_of(embeddings, labels, clusters, num_clusters=CLUSTERS, num_classes=CLASSES)
    expected = slow_prototypes(embeddings, labels, clusters)
    assert len(segments.prototypes) == len(expected)
    keys = sorted(expected)
    torch.testing.assert_close(segments.prototypes, torch.tensor([expected[key] for key in keys], dtype=torch.float64))
    assert segments.classes.tolist() == [key[2] for key in keys]
    places = labels.ne(255).nonzero().tolist()
    own = [keys.index((n, int(clusters[n, y, x]), int(labels[n, y, x]))) for n, y, x in places]
    assert segments.own.tolist() == own


@pytest.mark.parametrize("chunk", [None, 3])
def test_gradients_are_those_of_finite_differences(memory, chunk):
    """Through the prototypes too; those of the memory are constants."""
    labels = torch.tensor([[[0, 0, 1], [1, 255, 0]], [[2, 2, 2], [255, 3, 0]]])
    clusters = torch.tensor([[[0, 0, 0], [1, 1, 1]], [[2, 2, 0], [0, 0, 0]]])
    free = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    kept = tuple(each.clone().requires_grad_(each.is_floating_point()) for each in memory)

    def value(vectors):
        return loss_of(F.normalize(vectors, dim=1), labels, clusters, earlier=kept, concentration=4.0, chunk=chunk)

    assert torch.autograd.gradcheck(value, free)
    value(free).backward()
    assert kept[0].grad is None
    assert not free.grad[(labels == 255)[:, None].expand_as(free)].any()


def test_two_classes_with_a_prototype_each():
    """Unit vectors are attracted by their own prototype and repelled by the other one: log(1 + exp(k(cos - 1)))."""
    angle = 1.1
    e, f = [1.0, 0.0], [math.cos(angle), math.sin(angle)]
    embeddings = torch.tensor([e, e, f], dtype=torch.float64).T.reshape(1, 2, 1, 3)
    labels, clusters = torch.tensor([[[0, 0, 3]]]), torch.tensor([[[2, 2, 2]]])
    expected = math.log1p(math.exp(7.0 * (math.cos(angle) - 1.0)))
    assert loss_of(embeddings, labels, clusters, concentration=7.0).item() == pytest.approx(expected, rel=1e-12)


def test_a_pixel_is_not_attracted_by_its_own_prototype_where_there_is_another():
    """One class in two clusters, at right angles, and another class opposite to the first: all similarities are known.

    The pixel at (1, 0) has P = exp(0) and Q = exp(-k), that at (0, 1) P = exp(0) and Q = exp(0), that at (-1, 0)
    P = exp(k) of its own, as there is no other one, and Q = exp(-k) + exp(0).
    """
    k = 2.0
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64).T.reshape(1, 2, 1, 3)
    labels, clusters = torch.tensor([[[0, 0, 1]]]), torch.tensor([[[0, 1, 1]]])
    terms = [math.log1p(math.exp(-k)), math.log(2.0), math.log1p(math.exp(-2 * k) + math.exp(-k))]
    assert loss_of(embeddings, labels, clusters, concentration=k).item() == pytest.approx(sum(terms) / 3, rel=1e-12)


def test_the_memory_attracts_and_repels():
    """As above, but the last class is remembered at (0, 1): P of its pixel is exp(0), and both others are repelled."""
    k = 2.0
    embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64).T.reshape(1, 2, 1, 2)
    labels, clusters = torch.tensor([[[0, 1]]]), torch.zeros(1, 1, 2, dtype=torch.int64)
    memory = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.tensor([1])
    terms = [math.log1p(math.exp(-2 * k) + math.exp(-k)), math.log1p(math.exp(-k))]
    got = loss_of(embeddings, labels, clusters, earlier=memory, concentration=k)
    assert got.item() == pytest.approx(sum(terms) / 2, rel=1e-12)


def case(name, labels):
    if name == "one class":
        return torch.full_like(labels, 2)
    found = torch.full_like(labels, 255)
    if name == "one pixel":
        found[1, 4, 4] = 3
    if name == "one pixel a class":
        found[0, 5, 2:6] = torch.arange(4)
    if name == "an image ignored":
        found[0] = labels[0]
    return found


@pytest.mark.parametrize("name", ["one class", "all ignored", "one pixel", "one pixel a class", "an image ignored"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_finite(blobs, name, scale, dtype):
    labels = case(name, blobs(0, size=(9, 8)))
    raw = (scale * torch.randn(2, 3, 9, 8)).to(dtype).requires_grad_()
    got = loss_of(F.normalize(raw, dim=1), labels, clusters_like(labels), concentration=1e3)
    got.backward()
    assert got.dtype == torch.float32 and got.ndim == 0 and got.isfinite() and got >= 0
    assert raw.grad is not None and raw.grad.isfinite().all()
    if name in ("one class", "all ignored", "one pixel"):
        assert got.item() == 0, "there is nothing to tell apart"
        assert not raw.grad.any()


def test_half_precision_is_left_at_once(blobs):
    labels = blobs(1, size=(9, 8))
    half, clusters = embeddings_like(labels).bfloat16(), clusters_like(labels)
    expected = loss_of(half.float(), labels, clusters)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss_of(half, labels, clusters)
    torch.testing.assert_close(inside, expected)


def test_what_does_not_matter(blobs, memory):
    """Names of classes and clusters, the order of images, ignored pixels, and the order of the memory."""
    labels = blobs(2, size=(9, 8), ignored=0.3)
    embeddings, clusters = embeddings_like(labels), clusters_like(labels)
    expected = loss_of(embeddings, labels, clusters, earlier=memory)
    renamed, moved = torch.randperm(CLASSES), torch.randperm(CLUSTERS)
    other_labels = torch.where(labels == 255, 255, renamed[labels.clamp(max=CLASSES - 1)])
    other_memory = memory[0].flip(0), renamed[memory[1]].flip(0)
    torch.testing.assert_close(loss_of(embeddings, other_labels, moved[clusters], earlier=other_memory), expected)
    torch.testing.assert_close(loss_of(embeddings.flip(0), labels.flip(0), clusters.flip(0), earlier=memory), expected)
    changed = torch.where((labels == 255)[:, None], torch.randn_like(embeddings), embeddings)
    shuffled = torch.where(labels == 255, clusters_like(labels), clusters)
    assert torch.equal(loss_of(changed, labels, shuffled, earlier=memory), expected)


def test_embeddings_that_are_sorted_cost_less(blobs):
    labels = blobs(3, size=(9, 8), ignored=0.1)
    clusters = clusters_like(labels)
    sorted_ones = F.one_hot(labels.clamp(max=CLASSES - 1), CLASSES).permute(0, 3, 1, 2).double()
    mixed = F.normalize(sorted_ones + sorted_ones.flip(-1), dim=1)
    assert loss_of(sorted_ones, labels, clusters) < loss_of(mixed, labels, clusters)
