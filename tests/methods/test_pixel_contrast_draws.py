"""Which pixels and keys the method draws: as many as it is told, of the right kinds, by dice of their own."""

import dataclasses
import itertools

import pytest
import torch
from torch.nn import functional as F

from segbench.methods.pixel_contrast.head import Embedded
from tests.methods.contrasting import CLASSES, PAPER, RELEASED_MEMORY, filled_memory, log_loss, make, part, slow_group
from tests.steps import at


def known(method, vectors, predictions):
    """Let the network predict classes (N, h, w) and embed vectors (N, h, w, D)."""
    logits = F.one_hot(predictions, CLASSES).movedim(-1, 1).float()
    method.segmentor.register_forward_hook(lambda module, inputs, output: output._replace(logits=logits))
    method.head.forward = lambda *_, places, maps: Embedded(None, vectors.flatten(0, 2)[places].float())
    return method.eval()


def hard_and_easy(hard):
    """An image of classes 0 and 1 with so many pixels of each predicted as class 2, and unit vectors.

    Pixels of a class that are predicted alike share a vector, so that a loss tells how many of each were drawn.

    Returns:
        Vectors (1, 8, 8, 6) and predictions (1, 8, 8) of the maps, and the vectors by (class, hard or not).
    """
    units = F.normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(5)), dim=1)
    by_kind = dict(zip(((0, True), (0, False), (1, True), (1, False)), units, strict=True))
    vectors, predictions = torch.zeros(1, 8, 8, 6), torch.zeros(1, 8, 8, dtype=torch.int64)
    for label in (0, 1):
        for number in range(32):
            row, column = number % 8, number // 8 + 4 * label
            vectors[0, row, column] = by_kind[label, number < hard]
            predictions[0, row, column] = 2 if number < hard else label
    return vectors, predictions, by_kind


@pytest.mark.parametrize(
    ("hard", "share", "max_anchors", "drawn"),
    [  # of the two classes together at most max_anchors, of each at most 8 views; hard and easy ones of a class
        (7, 0.5, 12, (3, 3)),
        (7, 0.25, 12, (1, 5)),
        (7, 0.0, 12, (0, 6)),
        (7, 1.0, 12, (6, 0)),
        (4, 1.0, 12, (4, 2)),
        (30, 0.25, 12, (4, 2)),  # two easy ones are all there are
        (7, 0.5, 5, (1, 1)),
        (7, 0.5, 999, (4, 4)),
    ],
)
def test_released_form_draws_hard_and_easy_pixels(segmentor, halves, hard, share, max_anchors, drawn):
    vectors, predictions, by_kind = hard_and_easy(hard)
    options = {"max_anchors": max_anchors, "max_views": 8, "min_pixels": 8, "hard_anchor_share": share}
    method = known(make(segmentor, **options, temperature=0.25, base_temperature=0.5), vectors, predictions)
    kinds = [(label, kind) for label in (0, 1) for kind, count in zip((True, False), drawn, strict=True)
             for _ in range(count)]  # fmt: skip
    expected = slow_group(
        torch.stack([by_kind[kind] for kind in kinds]).double()[None, None],
        torch.tensor([[[label for label, _ in kinds]]]),
        tau=0.25,
    )
    for step in range(2):
        loss = method({"labelled": part(halves, 0)}, at(step))["contrast"]
        assert loss.item() == pytest.approx(0.5 * expected, rel=1e-5)


@pytest.mark.parametrize(("hard", "share", "drawn"), [(3, 0.75, (3, 1)), (1, 0.25, (1, 3)), (9, 1.0, (4, 0))])
def test_paper_form_draws_hard_pixels_and_the_rest_of_what_is_left(segmentor, halves, hard, share, drawn):
    vectors, predictions, by_kind = hard_and_easy(hard)
    options = {**PAPER, "anchors_per_class": 4, "hard_anchor_share": share, "semi_hard_percent": 100}
    method = make(segmentor, **options, temperature=0.25, base_temperature=0.25)
    keys, valid = filled_memory(known(method, vectors, predictions))
    losses = []
    for label in (0, 1):
        for kind, count in zip((True, False), drawn, strict=True):
            scores = [(float(by_kind[label, kind].double() @ key) / 0.25, c)
                      for c in range(CLASSES) for key in keys[c][valid[c]]]  # fmt: skip
            loss = log_loss([s for s, c in scores if c == label], [s for s, c in scores if c != label])
            losses += [loss] * count
    got = method({"labelled": part(halves, 0)}, at(0))["contrast"].item()
    assert got == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def one_anchor(segmentor, halves, **options):
    """A method of the paper's form whose anchors are all one vector of class 0, and the scores of its memory's keys.

    The memory holds 13 keys of class 0 and 3 of each other class.
    """
    vector = F.normalize(torch.randn(6, generator=torch.Generator().manual_seed(5)), dim=0)
    method = make(
        segmentor, **{**PAPER, "anchors_per_class": 2, "temperature": 0.3, "base_temperature": 0.3, **options}
    )
    known(method, vector.expand(1, 8, 8, 6), torch.ones(1, 8, 8, dtype=torch.int64))
    method.memory.keys.copy_(F.normalize(torch.randn_like(method.memory.keys), dim=1))
    method.memory.filled.copy_(torch.tensor([[5, 1, 2, 3], [8, 2, 1, 0]]))
    keys, valid = method.memory.view().double(), method.memory.valid()
    scores = [[float(vector.double() @ key) / 0.3 for key in keys[c][valid[c]]] for c in range(CLASSES)]
    data = part(halves, 0)
    return method, dataclasses.replace(data, target=torch.where(data.target == 1, 255, data.target)), scores


def test_paper_form_takes_so_many_positives_of_a_larger_memory(segmentor, halves):
    """The farthest half of 4 keys, whichever 4 of 13 are drawn, and not always the same."""
    options = {"positives_per_anchor": 2, "negatives_per_anchor": 99, "semi_hard_percent": 50}
    method, data, (own, *others) = one_anchor(segmentor, halves, **options)
    near = sorted((score for scores in others for score in scores), reverse=True)[:5]  # of 9
    possible = {log_loss(sorted(drawn)[:2], near) for drawn in itertools.combinations(own, 4)}
    got = {method({"labelled": data}, at(step))["contrast"].item() for step in range(8)}
    assert len(got) > 1
    assert all(min(abs(loss - value) for value in possible) < 2e-6 for loss in got)


def test_paper_form_takes_so_many_negatives_of_a_larger_memory(segmentor, halves):
    """4 of all 22 keys, so that 3 are left on average without those of the anchor's class, had all classes as many."""
    options = {"positives_per_anchor": 99, "negatives_per_anchor": 3, "semi_hard_percent": 100}
    method, data, scores = one_anchor(segmentor, halves, **options)
    every = [(score, c) for c in range(CLASSES) for score in scores[c]]
    crowds = {tuple(s for s, c in drawn if c) for drawn in itertools.combinations(every, 4)}
    possible = {log_loss(scores[0], crowd) for crowd in crowds}
    got = {method({"labelled": data}, at(step))["contrast"].item() for step in range(8)}
    assert len(got) > 1
    assert all(min(abs(loss - value) for value in possible) < 2e-6 for loss in got)


def test_the_keys_that_are_drawn_follow_seed_and_step_alone(segmentor, halves):
    method, data, _ = one_anchor(
        segmentor, halves, positives_per_anchor=2, negatives_per_anchor=2, semi_hard_percent=50
    )
    losses = []
    for seed, step in ((0, 0), (1, 0), (1, 1)):
        torch.manual_seed(seed)
        losses.append(method({"labelled": data}, at(step))["contrast"].item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("options", [{}, RELEASED_MEMORY, PAPER], ids=["released", "memory", "paper"])
def test_groups_have_draws_of_their_own(segmentor, halves, options):
    """Two groups of the same images: were the same pixels drawn, the mean of both would be the loss of one."""
    few = {"max_views": 3, "min_pixels": 3, **options, "anchors_per_class": 3, "semi_hard_percent": 100}
    method = make(segmentor, **few).eval()
    if method.memory is not None:
        filled_memory(method)
    one, twice = (method({"labelled": part(halves, *places)}, at(0))["contrast"] for places in ((0, 1), (0, 1, 0, 1)))
    assert twice.item() != pytest.approx(one.item(), rel=1e-4)


@pytest.mark.parametrize("defects", [(), ("self-mask",), ("zero-class",), ("self-mask", "zero-class")], ids=str)
def test_defects_of_the_released_memory_in_the_loss(segmentor, halves, defects):
    """One anchor of each (image, class) against two keys a class, which are listed class after class.

    Where the release leaves class 0 out, the list begins with class 1 and ends in zero vectors for class 0. The mask
    takes the list's key i from the positives of anchor i.
    """
    data, generator = part(halves, 0, 1), torch.Generator().manual_seed(6)
    options = {**RELEASED_MEMORY, "max_views": 1, "regions_per_class": 1, "pixels_per_class": 1}
    method = make(segmentor, **options, temperature=0.25, base_temperature=0.25, memory_defects=defects)
    kinds = [(0, 0), (0, 1), (1, 1), (1, 2)]  # image and class of the anchors
    units = F.normalize(torch.randn(4, 6, generator=generator), dim=1)
    labels = data.target[:, ::4, ::4]
    vectors = torch.zeros(2, 8, 8, 6)
    for (image, label), unit in zip(kinds, units, strict=True):
        vectors[image, labels[image] == label] = unit
    known(method, vectors, labels)
    keys = F.normalize(torch.randn(CLASSES, 2, 6, generator=generator), dim=2)
    if "zero-class" in defects:
        keys[0] = 0
    method.memory.keys[:-1] = keys.flatten(0, 1)
    method.memory.filled.fill_(1)
    if "zero-class" in defects:
        method.memory.filled[:, 0] = 0
    order = [1, 2, 3, 0] if "zero-class" in defects else [0, 1, 2, 3]
    listed = [(c, key.double()) for c in order for key in keys[c]]
    losses = []
    for i, ((_, label), unit) in enumerate(zip(kinds, units.double(), strict=True)):
        scores = [(float(unit @ key) / 0.25, c) for c, key in listed]
        masked = i if "self-mask" in defects else None
        own = [score for j, (score, c) in enumerate(scores) if c == label and j != masked]
        losses.append(log_loss(own, [score for score, c in scores if c != label]))
    got = method({"labelled": data}, at(0))["contrast"].item()
    assert got == pytest.approx(sum(losses) / 4, rel=1e-5)
