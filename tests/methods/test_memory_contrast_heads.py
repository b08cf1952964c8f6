"""Heads and class weights of SemiSeg-Contrastive against torch's own modules, class by class."""

import copy

import pytest
import torch
from torch import nn

from segbench.methods.memory_contrast.balance import ClassBalance, counts
from segbench.methods.memory_contrast.heads import MaskedBatchNorm, Mlp, Selectors

C, D, N = 4, 6, 300


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (N,), generator=generator)
    labels[11] = 3
    valid = torch.rand(N, generator=generator) > 0.3
    valid[11] = True
    return torch.randn(N, D, generator=generator, dtype=torch.float64).requires_grad_(), labels, valid


def single(selectors, c):
    """The selector of one class out of torch's modules."""
    network = nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.LeakyReLU(selectors.slope), nn.Linear(D, 1)).double()
    with torch.no_grad():
        network[0].weight.copy_(selectors.weight1[c])
        network[0].bias.copy_(selectors.bias1[c])
        network[1].weight.copy_(selectors.weight[c])
        network[1].bias.copy_(selectors.bias[c])
        network[3].weight.copy_(selectors.weight2[c][None])
        network[3].bias.copy_(selectors.bias2[c][None])
    return network


@pytest.fixture
def selectors():
    torch.manual_seed(0)
    made = Selectors(C, D, slope=0.2).double()
    with torch.no_grad():
        made.weight.uniform_(0.5, 2)
        made.bias.uniform_(-1, 1)
    return made


def test_selectors_are_a_network_a_class(selectors, rows):
    features, labels, valid = rows
    networks = [single(selectors, c) for c in range(C)]
    scores = selectors(features, labels, valid)
    assert not scores[~valid].any()
    wanted = torch.zeros(N, dtype=torch.float64)
    for c in range(3):
        mine = valid & (labels == c)
        assert mine.sum() > 1
        wanted[mine] = networks[c](features[mine]).sigmoid()[:, 0]
    others = labels != 3
    torch.testing.assert_close(scores[others], wanted[others])
    assert 0 < scores[11] < 1
    upstream = torch.randn(N, dtype=torch.float64) * (valid & others)
    ours = torch.autograd.grad(
        (scores * upstream).sum(), (features, selectors.weight1, selectors.weight2, selectors.bias)
    )
    theirs = torch.autograd.grad((wanted * upstream).sum(), features)[0]
    torch.testing.assert_close(ours[0], theirs)
    for c in range(3):
        mine = valid & (labels == c)
        again = networks[c](features[mine]).sigmoid()[:, 0]
        parameters = networks[c][0].weight, networks[c][3].weight, networks[c][1].bias
        for whole, own in zip(ours[1:], torch.autograd.grad((again * upstream[mine]).sum(), parameters), strict=True):
            torch.testing.assert_close(whole[c], own.view_as(whole[c]), atol=1e-10, rtol=1e-6)


def test_running_statistics_are_those_of_batch_norm(selectors, rows):
    features, labels, valid = rows
    networks = [single(selectors, c) for c in range(3)]
    for _ in range(3):
        selectors(features, labels, valid)
        for c in range(3):
            networks[c](features[valid & (labels == c)])
    for c in range(3):
        torch.testing.assert_close(selectors.running_mean[c], networks[c][1].running_mean)
        torch.testing.assert_close(selectors.running_var[c], networks[c][1].running_var)
    assert not selectors.running_mean[3].any() and (selectors.running_var[3] == 1).all()  # one feature moves nothing
    selectors.eval()
    scores = selectors(features, labels, valid)
    for c in range(3):
        mine = valid & (labels == c)
        torch.testing.assert_close(scores[mine], networks[c].eval()(features[mine]).sigmoid()[:, 0])


def test_scores_of_a_memory(selectors):
    vectors = torch.randn(C, 5, D, dtype=torch.float64)
    filled = torch.arange(5) < torch.tensor([5, 3, 2, 0])[:, None]
    found = copy.deepcopy(selectors).of_memory(vectors, filled)
    assert not found[~filled].any()
    for c in range(3):
        torch.testing.assert_close(found[c][filled[c]], single(selectors, c)(vectors[c][filled[c]]).sigmoid()[:, 0])


def test_no_valid_feature_is_no_nan(selectors, rows):
    features, labels, valid = rows
    scores = selectors(features, labels, torch.zeros_like(valid))
    scores.sum().backward()
    assert not scores.any()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in selectors.parameters())
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("training", [True, False])
def test_masked_batch_norm_is_batch_norm_of_the_valid_rows(rows, training):
    features, _, valid = rows
    ours, theirs = MaskedBatchNorm(D).double().train(training), nn.BatchNorm1d(D).double().train(training)
    for _ in range(2):
        mine, other = ours(features, valid)[valid], theirs(features[valid])
    torch.testing.assert_close(mine, other)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(getattr(ours, name), buffer)
    upstream = torch.randn_like(other)
    first, second = (torch.autograd.grad((each * upstream).sum(), features)[0] for each in (mine, other))
    torch.testing.assert_close(first, second)


def test_mlp_is_the_rows_that_count(rows):
    features, _, valid = rows
    torch.manual_seed(0)
    head = Mlp(D, 8, 3).double()
    plain = nn.Sequential(head.first, nn.BatchNorm1d(8).double(), nn.ReLU(), head.second)
    torch.testing.assert_close(head(features, valid)[valid], plain(features[valid]))


def test_heads_do_not_wait_for_the_device():
    meta = {"device": "meta"}
    features, labels = torch.zeros(N, D, requires_grad=True, **meta), torch.zeros(N, dtype=torch.int64, **meta)
    valid = torch.zeros(N, dtype=torch.bool, **meta)
    (
        Selectors(C, D).to("meta")(features, labels, valid).sum() + Mlp(D, 4, 4).to("meta")(features, valid).sum()
    ).backward()
    balance = ClassBalance(C, labelled_steps=2, window=3).to("meta")
    balance.update(labels, labels)
    balance.weights()


def test_class_weights_step_by_step():
    """Lists in Python: the first 2 steps' labels, the last 3 steps' pseudo-labels."""
    balance, labelled, recent = ClassBalance(3, labelled_steps=2, window=3), [], []
    generator = torch.Generator().manual_seed(0)
    for step in range(8):
        labels, pseudo = (torch.randint(0, 3, (50,), generator=generator) for _ in range(2))
        labels[:5] = 255
        pseudo[labels == 2] = 0
        balance.update(labels, pseudo)
        labelled = [*labelled, labels][:2]
        recent = [*recent, pseudo][-3:]
        everything = torch.cat([*labelled, *recent])
        share = torch.tensor([(everything == c).sum() for c in range(3)], dtype=torch.float64)
        wanted = (share.median() / share).sqrt() if step >= 3 else torch.ones(3, dtype=torch.float64)
        torch.testing.assert_close(balance.weights().double(), wanted, atol=1e-6, rtol=1e-6)
    again = ClassBalance(3, labelled_steps=2, window=3)
    again.load_state_dict(balance.state_dict())
    assert torch.equal(again.weights(), balance.weights())


def test_classes_that_are_never_seen():
    balance = ClassBalance(5, labelled_steps=1, window=1)
    for _ in range(3):
        balance.update(torch.tensor([0] * 10 + [1] * 40 + [2] * 40), torch.tensor([255]))
    # median of 0, 0, 10, 40, 40 is 10: weights 1, 1/2, 1/2, and the largest for the others
    torch.testing.assert_close(balance.weights(), torch.tensor([1.0, 0.5, 0.5, 1.0, 1.0]))
    rare = ClassBalance(5, labelled_steps=1, window=1)
    for _ in range(3):
        rare.update(torch.tensor([0] * 10), torch.tensor([1]))
    assert (rare.weights() == 1).all()  # no median without half of the classes


def test_counts():
    assert counts(torch.tensor([[0, 2, 2], [255, 1, -1]]), 3).tolist() == [1, 1, 2]
