"""SemiSeg-Contrastive's losses and memory against loops in float64 and lists in Python."""

import math

import pytest
import torch
from torch import nn

from segbench.losses.class_memory import ClassMemory
from segbench.losses.entropy import normalized_entropy
from segbench.losses.memory_contrast import memory_contrast
from segbench.losses.pseudo_labels import confidence_cross_entropy, gaussian_ramp

C, D, S, N = 4, 5, 6, 40


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def features():
    labels = torch.randint(0, C - 1, (N,), generator=torch.Generator().manual_seed(1))  # class 3 has none
    labels[7] = 3  # but one
    valid = torch.rand(N, generator=torch.Generator().manual_seed(2)) > 0.2
    valid[7] = True
    return random(3, N, D).requires_grad_(), labels, valid


@pytest.fixture
def bank():
    filled = torch.tensor([[True] * 6, [True] * 3 + [False] * 3, [True] + [False] * 5, [True] * 6])
    return random(4, C, S, D), filled


def by_loops(features, labels, valid, memory, filled, feature_scores, memory_scores):
    """The double sum of the released code as the paper means it, class by class, pair by pair."""
    total = torch.zeros((), dtype=torch.float64)
    for c in range(C):
        mine = [i for i in range(N) if valid[i] and labels[i] == c]
        keys = [j for j in range(S) if filled[c, j]]
        if len(mine) < 2 or len(keys) < 2:
            continue
        of_features = sum(feature_scores[i] for i in mine)
        of_keys = sum(memory_scores[c, j] for j in keys)
        pairs = []
        for i in mine:
            for j in keys:
                f, m = features[i], memory[c, j]
                distance = 1 - (f * m).sum() / (f.norm() * m.norm())
                a = len(mine) * feature_scores[i] / of_features
                b = len(keys) * memory_scores[c, j] / of_keys
                pairs.append(a * b * distance)
        total = total + sum(pairs) / len(pairs)
    return total / C


@pytest.mark.parametrize("rescaled", [False, True])
def test_against_the_double_loop(features, bank, rescaled):
    f, labels, valid = features
    memory, filled = bank
    scores = random(5, N).sigmoid().requires_grad_()
    of_memory = random(6, C, S).sigmoid() if rescaled else None
    loss = memory_contrast(f, labels, valid, memory, filled, feature_scores=scores, memory_scores=of_memory)
    ours = torch.autograd.grad(loss, (f, scores))
    ones = torch.ones(C, S, dtype=torch.float64)
    slow = by_loops(f, labels, valid, memory, filled, scores, of_memory if rescaled else ones)
    theirs = torch.autograd.grad(slow, (f, scores))
    torch.testing.assert_close(loss, slow)
    assert slow > 0
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    assert not ours[0][~valid].any() and not ours[0][7].any()


def test_nothing_to_compare_is_zero_with_a_gradient(features, bank):
    f, labels, valid = features
    memory, filled = bank
    scores = torch.full((N,), 0.5, dtype=torch.float64)
    for mask, keys in ((torch.zeros_like(valid), filled), (valid, torch.zeros_like(filled))):
        loss = memory_contrast(f, labels, mask, memory, keys, feature_scores=scores)
        assert loss.item() == 0
        assert not torch.autograd.grad(loss, f)[0].any()


def test_order_and_names_of_classes_do_not_matter(features, bank):
    f, labels, valid = features
    memory, filled = bank
    scores = random(5, N).sigmoid()
    loss = memory_contrast(f, labels, valid, memory, filled, feature_scores=scores)
    shuffled, renamed = torch.randperm(N), torch.tensor([2, 0, 3, 1])
    back = renamed.argsort()
    again = memory_contrast(
        f[shuffled],
        renamed[labels][shuffled],
        valid[shuffled],
        memory[back],
        filled[back],
        feature_scores=scores[shuffled],
    )
    torch.testing.assert_close(again, loss)


def test_the_memory_is_a_list_a_class():
    """Lists in Python, newest first and cut at S, through updates that overflow them."""
    memory, lists = ClassMemory(C, S, D), [[] for _ in range(C)]
    generator = torch.Generator().manual_seed(0)
    for step in range(8):
        vectors = torch.randn(N, D, generator=generator)
        labels = torch.randint(0, C - 1 if step % 2 else C, (N,), generator=generator)
        keep = torch.rand(N, generator=generator) > 0.6
        scores = torch.rand(N, generator=generator)
        limit, rank = (3, "lowest") if step % 2 else (4, "highest")
        memory.add(vectors, labels, keep, scores, limit=limit, rank=rank)
        for c in range(C):
            mine = [i for i in range(N) if keep[i] and labels[i] == c]
            mine.sort(key=lambda i: scores[i].item(), reverse=rank == "highest")
            lists[c] = ([vectors[i] for i in mine[:limit]][::-1] + lists[c])[:S]
        assert memory.filled.tolist() == [len(each) for each in lists]
        for c in range(C):
            ours = memory.vectors[c][memory.mask()[c]]
            assert {tuple(v.tolist()) for v in ours} == {tuple(v.tolist()) for v in lists[c]}
    assert memory.filled.tolist() == [S] * C
    assert not memory.store[-1].any()


def test_a_limit_above_the_size_keeps_the_best_of_it():
    memory = ClassMemory(2, 3, 1)
    values = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
    scores = torch.tensor([0.5, 0.1, 0.9, 0.3, 0.2])
    memory.add(
        values, torch.zeros(5, dtype=torch.int64), torch.ones(5, dtype=torch.bool), scores, limit=9, rank="lowest"
    )
    assert sorted(memory.vectors[0].flatten().tolist()) == [2.0, 4.0, 5.0]
    assert memory.filled.tolist() == [3, 0]


def test_a_class_without_candidates_stays():
    memory = ClassMemory(2, 3, 1)
    one = torch.ones(1, 1)
    memory.add(one, torch.tensor([1]), torch.tensor([True]), torch.ones(1), limit=2, rank="lowest")
    before = memory.store.clone()
    memory.add(2 * one, torch.tensor([1]), torch.tensor([False]), torch.ones(1), limit=2, rank="lowest")
    assert torch.equal(memory.store, before) and memory.filled.tolist() == [0, 1]


def test_entropy_by_hand_and_the_broadcast_of_july_2021():
    logits = random(7, 3, C, 2, 2)
    valid = torch.tensor([[[1, 1], [0, 1]], [[1, 0], [1, 1]], [[0, 0], [0, 1]]], dtype=torch.bool)
    p = logits.softmax(1)
    per_pixel = -(p * p.log2()).sum(1) / math.log2(C)
    mean = sum(per_pixel[n, y, x] for n in range(3) for y in range(2) for x in range(2) if valid[n, y, x]) / 7
    torch.testing.assert_close(normalized_entropy(logits, valid), mean)
    # (N, 1, H, W) times (N, H, W) has N x N maps; the denominator counts the valid pixels once.
    released = (valid[:, None] * per_pixel).sum() / (3 * 2 * 2 * (valid.sum() / 12))
    torch.testing.assert_close(normalized_entropy(logits, valid, broadcast=True), released)
    everything = torch.ones_like(valid)
    once, often = (normalized_entropy(logits, everything, broadcast=each) for each in (False, True))
    torch.testing.assert_close(often, 3 * once)


def test_entropy_of_certainty_and_of_none():
    sure = torch.zeros(1, C, 1, 2)
    sure[:, 0] = 400.0
    even = torch.zeros(1, C, 1, 2)
    everywhere, nowhere = torch.ones(1, 1, 2, dtype=torch.bool), torch.zeros(1, 1, 2, dtype=torch.bool)
    assert normalized_entropy(sure, everywhere).item() == 0
    assert normalized_entropy(even, everywhere).item() == pytest.approx(1)
    logits = even.requires_grad_()
    loss = normalized_entropy(logits, nowhere)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)])
def test_confidence_cross_entropy_by_a_loop(weights):
    logits, confidence = random(8, 2, C, 2, 3), random(9, 2, 2, 3).sigmoid()
    target = torch.randint(0, C, (2, 2, 3), generator=torch.Generator().manual_seed(0))
    target[0, 0] = 255
    total = 0.0
    for n in range(2):
        for y in range(2):
            for x in range(3):
                if target[n, y, x] == 255:
                    continue
                nll = -logits[n, :, y, x].log_softmax(0)[target[n, y, x]]
                w = 1.0 if weights is None else weights[target[n, y, x]]
                total += confidence[n, y, x] ** 6 * w * nll
    found = confidence_cross_entropy(logits, target, confidence, power=6, class_weights=weights)
    torch.testing.assert_close(found, total / 12)  # of all pixels, the ignored ones too


def test_ramp():
    """Values of the released schedule over 2,000 steps."""
    expected = {0: 0.006738, 500: 0.060055, 1000: 0.286505, 1500: 0.731616, 2000: 1, 9000: 1}
    assert {step: round(gaussian_ramp(step, 2000), 6) for step in expected} == expected


def test_nothing_waits_for_the_device():
    """Meta tensors have no values to look at."""
    meta = {"device": "meta"}
    memory = ClassMemory(C, S, D).to("meta")
    features, labels = torch.zeros(N, D, requires_grad=True, **meta), torch.zeros(N, dtype=torch.int64, **meta)
    valid, scores = torch.zeros(N, dtype=torch.bool, **meta), torch.zeros(N, **meta)
    memory.add(features, labels, valid, scores, limit=3, rank="lowest")
    memory_contrast(features, labels, valid, memory.vectors, memory.mask(), feature_scores=scores).backward()
    logits = torch.zeros(2, C, 3, 3, requires_grad=True, **meta)
    mask = torch.zeros(2, 3, 3, dtype=torch.bool, **meta)
    normalized_entropy(logits, mask, broadcast=True).backward()
    confidence_cross_entropy(logits, mask.long(), mask.float(), power=6).backward()


def test_float32_under_autocast(features, bank):
    f, labels, valid = features
    memory, filled = bank
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = nn.Linear(D, D)(f.detach().float())
        loss = memory_contrast(half, labels, valid, memory.float(), filled, feature_scores=torch.full((N,), 0.5))
        again = memory_contrast(
            half.float(), labels, valid, memory.float(), filled, feature_scores=torch.full((N,), 0.5)
        )
    assert half.dtype == torch.bfloat16 and loss.dtype == torch.float32
    assert torch.equal(loss, again)
