import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segbench.losses.bank_contrast import contrast_with_all, draw_candidates, semi_hard_contrast

CLASSES, LENGTH, DIM = 4, 7, 5


def unit(*shape, seed=0):
    vectors = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.normalize(vectors, dim=-1)


@pytest.fixture
def bank():
    filled = torch.rand(CLASSES, LENGTH) < 0.7
    filled[2] = False  # a class that was never seen
    filled[3] = True
    return unit(CLASSES, LENGTH, DIM), filled


def loss_of(scores, negatives):
    """Mean over positives of -log(e^s / (e^s + sum over negatives of e^n)); None without positives."""
    crowd = sum(math.exp(n) for n in negatives)
    terms = [-math.log(math.exp(s) / (math.exp(s) + crowd)) for s in scores]
    return sum(terms) / len(terms) if terms else None


def slow_with_all(features, labels, valid, keys, filled, tau, *, spared=None):
    losses = []
    for i, (anchor, label) in enumerate(zip(features, labels.tolist(), strict=True)):
        scores, others = [], []
        for c in range(len(keys)):
            for k in range(keys.shape[1]):
                place = c * keys.shape[1] + k
                if filled[c, k] and c == label and (spared is None or place != spared + i):
                    scores.append(float(anchor @ keys[c, k]) / tau)
                if filled[c, k] and c != label:
                    others.append(float(anchor @ keys[c, k]) / tau)
        losses.append(loss_of(scores, others) if valid[i] else None)
    return losses


def mean(losses):
    found = [loss for loss in losses if loss is not None]
    return sum(found) / len(found)


@pytest.mark.parametrize("tau", [0.07, 1.0])
@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("spared", [None, 0, LENGTH])
def test_all_keys_equal_the_formula(bank, tau, chunk, spared):
    features, labels = unit(9, DIM, seed=1), torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 0])
    valid = torch.arange(9) != 4
    got = contrast_with_all(features, labels, valid, *bank, temperature=tau, chunk=chunk, spared=spared)
    expected = slow_with_all(features, labels, valid, *bank, tau, spared=spared)
    assert got.mean().item() == pytest.approx(mean(expected), rel=1e-10)
    assert got.values.tolist() == pytest.approx([loss or 0 for loss in expected], rel=1e-10)
    assert got.counted.tolist() == [loss is not None for loss in expected]


def test_a_spared_key_is_no_positive_of_its_anchor_alone(bank):
    keys, filled = bank[0], torch.ones_like(bank[1])
    features, labels = unit(3, DIM, seed=1), torch.tensor([0, 0, 1])
    plain, spared = (
        contrast_with_all(features, labels, labels >= 0, keys, filled, spared=first).values for first in (None, 0)
    )
    assert (plain != spared).tolist() == [True, True, False]  # key 2 is of class 0


def test_equal_vectors_give_the_logarithm_of_the_count():
    keys, filled = torch.ones(3, 4, 1), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    got = contrast_with_all(torch.ones(3, 1), torch.arange(3), torch.ones(3).bool(), keys, filled)
    torch.testing.assert_close(got.values, torch.tensor([math.log(1 + n) for n in (3.0, 5.0, 6.0)]))


@pytest.mark.parametrize("chunk", [None, 2])
def test_gradient_with_all_keys(bank, chunk):
    labels = torch.tensor([0, 1, 3, 2])

    def function(features):
        return contrast_with_all(features, labels, labels != 1, *bank, temperature=0.5, chunk=chunk).mean()

    assert torch.autograd.gradcheck(function, unit(4, DIM, seed=1).requires_grad_())


def everything(keys, filled, percent):
    """Candidates that no draw has thinned out."""
    return draw_candidates(keys, filled, positives=10**3, negatives=10**4, percent=percent)


def slow_semi_hard(features, valid, keys, filled, tau, percent):
    """The farthest percent of the positives and the nearest percent of the negatives in the whole memory."""
    losses = []
    for c in range(len(keys)):
        own = [keys[c, k] for k in range(keys.shape[1]) if filled[c, k]]
        others = [keys[o, k] for o in range(len(keys)) if o != c for k in range(keys.shape[1]) if filled[o, k]]
        for a in range(features.shape[1]):
            if not valid[c, a]:
                continue
            scores = sorted(float(features[c, a] @ key) / tau for key in own)
            crowd = sorted((float(features[c, a] @ key) / tau for key in others), reverse=True)
            taken = scores[: math.ceil(len(own) * percent / 100)], crowd[: math.ceil(len(others) * percent / 100)]
            losses.append(loss_of(*taken))
    return losses


@pytest.mark.parametrize("percent", [10, 40, 100])
@pytest.mark.parametrize("tau", [0.1, 1.0])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_semi_hard_equals_the_formula_where_the_memory_is_small(bank, percent, tau, chunk):
    features, valid = unit(CLASSES, 3, DIM, seed=1), torch.rand(CLASSES, 3) < 0.8
    candidates = everything(*bank, percent)
    got = semi_hard_contrast(features, valid, candidates, percent=percent, temperature=tau, chunk=chunk)
    expected = slow_semi_hard(features, valid, *bank, tau, percent)
    assert got.mean().item() == pytest.approx(mean(expected), rel=1e-10)
    assert got.counted[valid].tolist() == [loss is not None for loss in expected]
    assert not got.counted[~valid].any()


@pytest.mark.parametrize("chunk", [None, 1, 3])
@pytest.mark.parametrize("positives", [1, 10**3], ids=["gathered", "as they stand"])
def test_semi_hard_gradient(bank, chunk, positives):
    candidates = draw_candidates(*bank, positives=positives, negatives=10**4, percent=60)
    assert (candidates.places is None) == (positives > 1)
    valid = torch.tensor([[True, True], [True, False], [True, True], [False, True]])

    def losses(features, chunk=chunk):
        return semi_hard_contrast(features, valid, candidates, percent=30, temperature=0.5, chunk=chunk).values

    features = unit(CLASSES, 2, DIM, seed=1).requires_grad_()
    torch.testing.assert_close(losses(features), losses(features, CLASSES), rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(losses, features)


@pytest.mark.parametrize(("num_classes", "percent"), [(4, 10.0), (3, 25.0), (2, 100.0)])
def test_published_numbers_of_keys(num_classes, percent):
    """Equally many keys of each class: as many positives and negatives are taken as are asked for."""
    keys, filled = torch.ones(num_classes, 400, 1), torch.ones(num_classes, 400).bool()
    candidates = draw_candidates(keys, filled, positives=9, negatives=21, percent=percent)
    assert candidates.may_be_positive.sum(1).tolist() == [9 * 100 / percent] * num_classes
    losses = semi_hard_contrast(
        torch.ones(num_classes, 5, 1), torch.ones(num_classes, 5).bool(), candidates, percent=percent
    )
    # Keys that are all alike: the loss is log(1 + number of negatives).
    taken = losses.values.exp() - 1
    own = torch.bincount(candidates.classes, minlength=num_classes)
    expected = ((len(candidates.classes) - own) * percent / 100).ceil()
    torch.testing.assert_close(taken, expected[:, None].expand(-1, 5), rtol=1e-4, atol=0)
    assert expected.float().mean().item() == pytest.approx(21, abs=1.0)


@pytest.mark.parametrize("percent", [20, 7], ids=["gathered", "as they stand"])
def test_candidates_are_filled_distinct_and_evenly_drawn(percent):
    filled = torch.rand(3, 50) < 0.6
    filled[1] = False
    keys = torch.arange(150.0).view(3, 50, 1)
    drawn_as = torch.zeros(2, 150)
    generator = torch.Generator().manual_seed(0)
    many, few = filled.sum(), -(-2 * 100 // percent)
    wanted = min(-(-4 * 100 * 3 // (2 * percent)), int(many))  # half as many again for the class that drops out
    for _ in range(2000):
        found = draw_candidates(keys, filled, positives=2, negatives=4, percent=percent, generator=generator)
        places = found.negatives.flatten().long()[found.classes < 3]
        assert torch.equal(found.classes[found.classes < 3], places // 50)
        assert len(set(places.tolist())) == len(places) == wanted
        drawn_as[0, places] += 1
        assert found.may_be_positive.sum(1).tolist() == [min(few, int(count)) for count in filled.sum(1)]
        for c in range(3):
            own = found.positives()[c][found.may_be_positive[c]].flatten().long()
            assert len(set(own.tolist())) == len(own)
            assert (own // 50 == c).all()
            drawn_as[1, own] += 1
    assert not drawn_as[:, ~filled.flatten()].any()
    for counts, chance in (
        (drawn_as[0][filled.flatten()], wanted / many),
        *((drawn_as[1].view(3, 50)[c][filled[c]], (few / filled[c].sum()).clamp(max=1)) for c in (0, 2)),
    ):
        deviation = (2000 * chance * (1 - chance)).sqrt()
        assert (counts - 2000 * chance).abs().max() <= 5 * deviation + 1e-3


def test_drawing_candidates_first_gives_the_papers_loss():
    """K keys of the hardest p percent of a large memory against the hardest p percent of K / p keys, on average."""
    keys, filled = unit(3, 2000, 8), torch.ones(3, 2000).bool()
    anchor, generator = unit(1, 8, seed=5), torch.Generator().manual_seed(0)
    features = anchor.expand(3, 1, 8)
    valid = torch.tensor([[True], [False], [False]])
    far = (keys[0] @ anchor[0] / 0.1).sort().values[:200]
    near = (keys[1:].flatten(0, 1) @ anchor[0] / 0.1).sort(descending=True).values[:400]
    papers, ours = [], []
    for _ in range(300):
        scores = far[torch.randperm(200, generator=generator)[:50]]
        crowd = near[torch.randperm(400, generator=generator)[:100]]
        papers.append(F.softplus(crowd.logsumexp(0) - scores).mean())
        candidates = draw_candidates(keys, filled, positives=50, negatives=100, percent=10, generator=generator)
        ours.append(semi_hard_contrast(features, valid, candidates).mean())
    papers, ours = torch.stack(papers), torch.stack(ours)
    spread = ((papers.var() + ours.var()) / 300).sqrt().item()
    assert spread < 0.002 * papers.mean()
    assert ours.mean().item() == pytest.approx(papers.mean().item(), abs=5 * spread)
    assert ours.std() < 2 * papers.std()  # where the border lies is luck too


@pytest.mark.parametrize("filled", [0, 1, CLASSES], ids=["empty memory", "one class", "one key a class"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_poor_memories_stay_finite(filled, scale):
    keys, mask = unit(CLASSES, LENGTH, DIM).float() * scale, torch.zeros(CLASSES, LENGTH).bool()
    mask[:filled, 0] = True
    features = (unit(CLASSES, 2, DIM, seed=1).float() * scale).requires_grad_()
    valid = torch.ones(CLASSES, 2).bool()
    candidates = draw_candidates(keys, mask, positives=3, negatives=5, percent=50)
    semi_hard = semi_hard_contrast(features, valid, candidates, percent=50)
    labels = torch.arange(CLASSES).repeat_interleave(2)
    with_all = contrast_with_all(features.flatten(0, 1), labels, valid.flatten(), keys, mask)
    for losses in (semi_hard, with_all):
        features.grad = None
        losses.mean().backward(retain_graph=True)
        assert losses.mean().isfinite()
        assert features.grad.isfinite().all()
        assert int(losses.counted.sum()) == 2 * filled
        assert bool(losses.values.any()) == (filled == CLASSES)


@pytest.mark.parametrize("percent", [10, 100])
def test_an_anchor_that_is_not_a_number_is_not_left_out(bank, percent):
    features = unit(CLASSES, 2, DIM, seed=1)
    features[3, 1] = torch.nan
    valid, labels = torch.ones(CLASSES, 2).bool(), torch.arange(CLASSES).repeat_interleave(2)
    semi_hard = semi_hard_contrast(features, valid, everything(*bank, percent), percent=percent)
    with_all = contrast_with_all(features.flatten(0, 1), labels, valid.flatten(), *bank)
    for losses in (semi_hard, with_all):
        assert losses.values.flatten().isnan().tolist() == [False] * 7 + [True]
        assert losses.mean().isnan()


def test_class_permutation(bank):
    keys, filled = bank
    features, valid = unit(CLASSES, 3, DIM, seed=1), torch.rand(CLASSES, 3) < 0.8
    labels = torch.arange(CLASSES).repeat_interleave(3)
    order = torch.tensor([2, 0, 3, 1])
    inverse = order.argsort()
    semi, full = (
        [
            semi_hard_contrast(features[o], valid[o], everything(keys[o], filled[o], 40), percent=40).mean(),
            contrast_with_all(features.flatten(0, 1), new[labels], valid.flatten(), keys[o], filled[o]).mean(),
        ]
        for o, new in ((torch.arange(CLASSES), torch.arange(CLASSES)), (order, inverse))
    )
    torch.testing.assert_close(semi, full, rtol=1e-12, atol=0)


@pytest.mark.parametrize("positives", [10, 30])
def test_the_bank_is_not_copied(positives):
    """Products with views and with parts of it: no tensor that a step makes comes near the memory's size."""
    keys, filled = torch.randn(19, 400, 64), torch.ones(19, 400).bool()
    features, labels = torch.randn(3, 64, requires_grad=True), torch.tensor([0, 4, 4])
    made = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            tensors = [each for each in tree_leaves(result) if isinstance(each, torch.Tensor)]
            made.extend(each.numel() for each in tensors if each.data_ptr() != keys.data_ptr())
            return result

    with Watch():
        contrast_with_all(features, labels, labels >= 0, keys, filled).mean().backward()
        candidates = draw_candidates(keys, filled, positives=positives, negatives=20)
        anchors = features[:1].expand(19, 1, 64)
        semi_hard_contrast(anchors, torch.ones(19, 1).bool(), candidates).mean().backward()
    assert max(made) <= keys.numel() / 3
