import dataclasses
import itertools
import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.methods.pixel_contrast.head import Projection
from segbench.methods.pixel_contrast.method import build
from segbench.methods.pixel_contrast.options import Options
from segbench.methods.supervised.options import Options as SupervisedOptions

CLASSES = 4
ALL_PIXELS = {"max_anchors": 999, "max_views": 32, "min_pixels": 32}  # of two classes that halve a map of 8 x 8
RELEASED_MEMORY = {"form": "released", "keys": "memory", "max_views": 2, "min_pixels": 2}
PAPER = {"form": "paper", "keys": "memory", "anchors_per_class": 99}


def make(segmentor, *, aux=False, **options):
    torch.manual_seed(1)
    given = {
        "embedding_dim": 6,
        "starts_after_steps": 0,
        "base_temperature": 0.1,
        "weight": 1.0,
        "regions_per_class": 5,
        "pixels_per_class": 8,
        "pixels_per_image": 3,
        **options,
    }
    return build(Options(**given), segmentor(CLASSES, aux=aux), num_classes=CLASSES, seed=3)


@pytest.fixture
def halves(batch):
    """Images of 32 x 32 with two classes, left and right."""
    data = batch(CLASSES, images=4, size=(32, 32))
    target = torch.zeros_like(data.target)
    for image, (left, right) in enumerate(((0, 1), (2, 1), (1, 3), (3, 0))):
        target[image, :, :16], target[image, :, 16:] = left, right
    return dataclasses.replace(data, target=target)


def part(data, *places):
    rows = torch.tensor(places)
    return dataclasses.replace(data, images=data.images[rows], target=data.target[rows])


def embedded(method, data, *, align_corners=False):
    """Unit vectors (N, h, w, D) and labels of the embedded map, from the network's layers alone."""
    with torch.no_grad():
        layers = method.segmentor(data.images).layers
        size = layers[0].shape[-2:]
        resized = [F.interpolate(layer, size, mode="bilinear", align_corners=align_corners) for layer in layers]
        vectors = method.head.layers(torch.cat(resized, 1)).double().movedim(1, -1)
    stride = data.target.shape[-1] // size[1]
    return vectors / vectors.norm(dim=-1, keepdim=True), data.target[:, ::stride, ::stride]


def log_loss(scores, others):
    crowd = sum(math.exp(score) for score in others)
    terms = [-math.log(math.exp(score) / (math.exp(score) + crowd)) for score in scores]
    return sum(terms) / len(terms)


def slow_group(vectors, labels, tau=0.1):
    pixels = list(zip(vectors.flatten(0, 2), labels.flatten().tolist(), strict=True))
    losses = []
    for i, (anchor, label) in enumerate(pixels):
        scores = [(float(anchor @ other) / tau, c) for j, (other, c) in enumerate(pixels) if j != i]
        losses.append(log_loss([s for s, c in scores if c == label], [s for s, c in scores if c != label]))
    return sum(losses) / len(losses)


def test_released_form_equals_the_formula_when_every_pixel_is_drawn(segmentor, halves):
    data = part(halves, 0, 1, 2)
    method = make(segmentor, **ALL_PIXELS, weight=0.3, base_temperature=0.05)
    method.eval()  # batch statistics would differ between the passes
    vectors, labels = embedded(method, data)
    groups = [slow_group(vectors[g], labels[g]) for g in (slice(0, 2), slice(2, 3))]
    losses = method({"labelled": data}, 0)
    assert set(losses) == {"ce", "contrast"}
    assert losses["contrast"].item() == pytest.approx(0.3 * 0.1 / 0.05 * sum(groups) / 2, rel=1e-5)


def filled_memory(method):
    """Random keys for some of the places."""
    memory = method.memory
    memory.keys.copy_(F.normalize(torch.randn_like(memory.keys), dim=1))
    memory.filled.copy_(torch.tensor([[5, 2, 0, 1], [8, 3, 0, 8]]))
    return memory.view().double(), memory.valid()


@pytest.mark.parametrize("percent", [10, 50])
def test_paper_form_equals_the_formula_when_every_pixel_is_drawn(segmentor, halves, percent):
    data = part(halves, 0, 1)
    method = make(segmentor, **PAPER, semi_hard_percent=percent)
    method.eval()
    keys, valid = filled_memory(method)
    vectors, labels = embedded(method, data)
    losses = []
    for anchor, label in zip(vectors.flatten(0, 2), labels.flatten().tolist(), strict=True):
        own = sorted(float(anchor @ key) / 0.1 for key in keys[label][valid[label]])
        others = [float(anchor @ key) / 0.1 for c in range(CLASSES) if c != label for key in keys[c][valid[c]]]
        if own:  # class 2 has no keys
            near = sorted(others, reverse=True)[: math.ceil(len(others) * percent / 100)]
            losses.append(log_loss(own[: math.ceil(len(own) * percent / 100)], near))
    assert len(losses) == 96
    assert method({"labelled": data}, 0)["contrast"].item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_released_form_with_memory_equals_the_formula_when_every_pixel_is_drawn(segmentor, halves):
    data = part(halves, 0, 1)
    method = make(segmentor, **{**RELEASED_MEMORY, **ALL_PIXELS})
    method.eval()
    keys, valid = filled_memory(method)
    vectors, labels = embedded(method, data)
    losses = []
    for anchor, label in zip(vectors.flatten(0, 2), labels.flatten().tolist(), strict=True):
        scores = [(float(anchor @ key) / 0.1, c) for c in range(CLASSES) for key in keys[c][valid[c]]]
        own = [score for score, c in scores if c == label]
        losses += [log_loss(own, [score for score, c in scores if c != label])] if own else []
    assert method({"labelled": data}, 0)["contrast"].item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def known(method, vectors, predictions):
    """Let the network predict classes (N, h, w) and embed vectors (N, h, w, D)."""
    logits = F.one_hot(predictions, CLASSES).movedim(-1, 1).float()
    method.segmentor.register_forward_hook(lambda module, inputs, output: output._replace(logits=logits))
    method.head.register_forward_hook(lambda module, inputs, output: vectors.movedim(-1, 1).float())
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
        loss = method({"labelled": part(halves, 0)}, step)["contrast"]
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
    got = method({"labelled": part(halves, 0)}, 0)["contrast"].item()
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
    got = {method({"labelled": data}, step)["contrast"].item() for step in range(8)}
    assert len(got) > 1
    assert all(min(abs(loss - value) for value in possible) < 2e-6 for loss in got)


def test_paper_form_takes_so_many_negatives_of_a_larger_memory(segmentor, halves):
    """4 of all 22 keys, so that 3 are left on average without those of the anchor's class, had all classes as many."""
    options = {"positives_per_anchor": 99, "negatives_per_anchor": 3, "semi_hard_percent": 100}
    method, data, scores = one_anchor(segmentor, halves, **options)
    every = [(score, c) for c in range(CLASSES) for score in scores[c]]
    crowds = {tuple(s for s, c in drawn if c) for drawn in itertools.combinations(every, 4)}
    possible = {log_loss(scores[0], crowd) for crowd in crowds}
    got = {method({"labelled": data}, step)["contrast"].item() for step in range(8)}
    assert len(got) > 1
    assert all(min(abs(loss - value) for value in possible) < 2e-6 for loss in got)


def test_the_keys_that_are_drawn_follow_seed_and_step_alone(segmentor, halves):
    method, data, _ = one_anchor(
        segmentor, halves, positives_per_anchor=2, negatives_per_anchor=2, semi_hard_percent=50
    )
    losses = []
    for seed, step in ((0, 0), (1, 0), (1, 1)):
        torch.manual_seed(seed)
        losses.append(method({"labelled": data}, step)["contrast"].item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("options", [{}, RELEASED_MEMORY, PAPER], ids=["released", "memory", "paper"])
def test_groups_have_draws_of_their_own(segmentor, halves, options):
    """Two groups of the same images: were the same pixels drawn, the mean of both would be the loss of one."""
    few = {"max_views": 3, "min_pixels": 3, **options, "anchors_per_class": 3, "semi_hard_percent": 100}
    method = make(segmentor, **few).eval()
    if method.memory is not None:
        filled_memory(method)
    one, twice = (method({"labelled": part(halves, *places)}, 0)["contrast"] for places in ((0, 1), (0, 1, 0, 1)))
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
    got = method({"labelled": data}, 0)["contrast"].item()
    assert got == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_one_device_with_a_batch_is_many_devices_with_groups(segmentor, halves):
    """Means over groups, with draws that do not depend on what the other groups show."""
    for options in (ALL_PIXELS, {"max_views": 5, "min_pixels": 5}):
        method = make(segmentor, **options)
        method.eval()
        first, whole = (method({"labelled": data}, 7)["contrast"] for data in (part(halves, 0, 1), halves))
        nothing = dataclasses.replace(halves, target=halves.target.clone())
        nothing.target[2:] = 255
        torch.testing.assert_close(method({"labelled": nothing}, 7)["contrast"], first / 2)
        if options is ALL_PIXELS:
            second = method({"labelled": part(halves, 2, 3)}, 7)["contrast"]
            torch.testing.assert_close(whole, (first + second) / 2)
    together = make(segmentor, images_per_group=None, **ALL_PIXELS).eval()
    expected = slow_group(*embedded(together, halves))
    assert together({"labelled": halves}, 0)["contrast"].item() == pytest.approx(expected, rel=1e-5)


def test_embeds_the_last_layer_where_it_is_told_to(segmentor, halves):
    method = make(segmentor, features="last")
    assert method.head.layers[0].in_channels == 12
    assert method.head(method.segmentor(halves.images).layers).shape == (4, 6, 1, 1)
    assert make(segmentor).head(method.segmentor(halves.images).layers).shape == (4, 6, 8, 8)


@pytest.mark.parametrize(
    ("channels", "features", "parameters"),
    [((48, 96, 192, 384), "concat", 705_136), ((256, 512, 1024, 2048), "last", 4_724_992)],
)
def test_parameters_of_the_head(channels, features, parameters):
    """70.71 - 70.01 M on HRNetV2-W48 and 94.30 - 89.57 M on D-ResNet-101, as the models were counted."""
    head = Projection(channels, features=features, dim=256, align_corners=True)
    assert sum(parameter.numel() for parameter in head.parameters()) == parameters
    assert [type(layer).__name__ for layer in head.layers] == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d"]


def test_kaiming_head():
    torch.manual_seed(0)
    head = Projection((64,), features="last", dim=256, align_corners=True, init="kaiming")
    assert not head.layers[0].bias.any()
    assert head.layers[3].weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)


def test_corners_follow_the_network(segmentor, halves):
    networks = []
    for align in (False, True):
        method = make(segmentor, **ALL_PIXELS)
        method.segmentor.align_corners = method.head.align_corners = align
        method.eval()
        vectors, labels = embedded(method, part(halves, 0, 1), align_corners=align)
        networks.append(method({"labelled": part(halves, 0, 1)}, 0)["contrast"].item())
        assert networks[-1] == pytest.approx(slow_group(vectors, labels), rel=1e-5)
    assert networks[0] != networks[1]


def test_defaults_are_the_released_values():
    options = Options()
    assert (options.form, options.keys, options.weight, options.embedding_dim) == ("released", "batch", 0.1, 256)
    assert (options.max_anchors, options.max_views, options.min_pixels) == (1024, 100, 101)
    assert options.temperature / options.base_temperature == pytest.approx(1.4286, abs=1e-4)
    assert (options.starts_after_steps, options.images_per_group) == (5000, 2)
    assert options.memory_defects == ()
    assert options.canonical() == {}


@pytest.mark.parametrize("options", [{}, RELEASED_MEMORY, PAPER], ids=["released", "memory", "paper"])
def test_draws_follow_seed_and_step(segmentor, halves, options):
    method = make(segmentor, **{"max_views": 5, "min_pixels": 5, **options, "anchors_per_class": 3})
    method.eval()
    if method.memory is not None:
        filled_memory(method)
    first, again, later = (method({"labelled": halves}, step)["contrast"].item() for step in (0, 0, 1))
    assert first == again != later


@pytest.mark.parametrize("options", [{}, RELEASED_MEMORY, PAPER], ids=["released", "memory", "paper"])
def test_waits_for_its_start(segmentor, halves, options):
    method = make(segmentor, **{"max_views": 5, "min_pixels": 5, **options}, starts_after_steps=2)
    for step in (0, 1):
        waiting = method({"labelled": halves}, step)["contrast"]
        waiting.backward()
        method.after_step(step)
        assert waiting.item() == 0
        assert all(not p.grad.any() for p in method.head.parameters())
    loss = method({"labelled": halves}, 2)["contrast"]  # the memory was filled meanwhile
    loss.backward()
    assert loss.item() > 0
    assert any(p.grad.any() for p in method.head.parameters())


def test_steps_fill_the_memory(segmentor, halves):
    method = make(segmentor, **PAPER, starts_after_steps=9)
    for step in range(2):
        method({"labelled": halves}, step)
        regions, pixels = [2 * step, 3 * step, step, 2 * step], [6 * step, 9 * step, 3 * step, 6 * step]
        assert method.memory.filled.tolist() == [[min(5, n) for n in regions], [min(8, n) for n in pixels]]
        vectors, labels = embedded(method, halves)
        method.after_step(step)
    held = method.memory.view()[:, :5].double()
    for place, (image, c) in enumerate(((0, 1), (1, 1), (2, 1)), 3):  # the newest three of class 1 after three before
        mean = vectors[image][labels[image] == c].mean(0)
        torch.testing.assert_close(held[1, place % 5], mean / mean.norm(), rtol=0, atol=1e-6)
    for c in range(CLASSES):
        held = method.memory.view()[c, 5:][method.memory.valid()[c, 5:]].double()
        distances = (held[:, None] - vectors[labels == c]).abs().amax(-1).amin(1)
        assert distances.max() < 1e-6


def test_the_memory_is_saved_and_only_training_fills_it(segmentor, halves):
    method, other = make(segmentor, **PAPER), make(segmentor, **PAPER)
    for step in range(3):
        method({"labelled": halves}, step)
        method.after_step(step)
    other.load_state_dict(method.state_dict())
    for each in (method, other):
        each.train()
    one, two = (each({"labelled": halves}, 3)["contrast"] for each in (method, other))
    assert torch.equal(one, two)
    for each in (method, other):
        each.after_step(3)
    assert torch.equal(method.memory.keys, other.memory.keys)
    method.eval()
    before = method.memory.filled.clone()
    method({"labelled": halves}, 4)
    method.after_step(4)
    assert torch.equal(method.memory.filled, before)


def test_parts_of_a_batch_fill_the_memory_as_the_batch(segmentor, halves):
    """All of them see the memory as it was before the step."""
    counts = []
    for parts in ([halves], [part(halves, 0, 1), part(halves, 2, 3)]):
        method = make(segmentor, **PAPER)
        for number, data in enumerate(parts):
            method.part = number
            method({"labelled": data}, 0)
            assert not method.memory.filled.any()
        method.after_step(0)
        counts.append(method.memory.filled.tolist())
    assert counts[0] == counts[1]


@pytest.mark.parametrize("given_up", [[(1, 0)], [(2, 0)], [(2, 0), (2, 1)], [(1, 0), (1, 1), (2, 0)]], ids=str)
def test_a_step_begun_anew_fills_the_memory_once(segmentor, halves, given_up):
    """Of (step, part) pairs that were given up nothing is left: step 2 is done with two parts of two images each."""
    method = make(segmentor, **PAPER)
    parts = (part(halves, 0, 1), part(halves, 2, 3))
    for step, number in [*given_up, (2, 0), (2, 1)]:
        method.part = number
        method({"labelled": parts[number]}, step)
    method.after_step(2)
    assert method.memory.filled[0].tolist() == [2, 3, 1, 2]
    method.after_step(2)
    assert method.memory.filled[0].tolist() == [2, 3, 1, 2]


def test_excluded_classes_give_neither_anchors_nor_keys(segmentor, halves):
    ignored = dataclasses.replace(halves, target=torch.where(halves.target == 1, 255, halves.target))
    for options in ({"max_views": 5, "min_pixels": 5}, PAPER):
        plain, without = make(segmentor, **options), make(segmentor, exclude_classes=(1,), **options)
        losses = []
        for method, data in ((plain, ignored), (without, halves)):
            for step in range(2):
                loss = method({"labelled": data}, step)["contrast"]
                method.after_step(step)
            losses.append(loss.item())
        assert losses[0] == losses[1] > 0
    assert not without.memory.filled[:, 1].any()
    with pytest.raises(InvalidFault, match="class 4 of 4"):
        make(segmentor, exclude_classes=(4,))


@pytest.mark.parametrize("defect", ["noise", "zero-class", "label-stride", "first-pixels", "one-step", "one-group"])
def test_every_defect_changes_the_memory(segmentor, halves, defect):
    held = []
    for defects in ((), (defect,)):
        method = make(segmentor, **RELEASED_MEMORY, memory_defects=defects)
        for step in range(3):
            method({"labelled": halves}, step)
            method.after_step(step)
        held.append((method.memory.view() * method.memory.valid()[..., None], method.memory.valid()))
    assert not (torch.equal(held[0][0], held[1][0]) and torch.equal(held[0][1], held[1][1]))


def test_self_mask_defect_changes_the_loss_alone(segmentor, halves):
    losses, held = [], []
    for defects in ((), ("self-mask",)):
        method = make(segmentor, **RELEASED_MEMORY, memory_defects=defects)
        for step in range(2):
            loss = method({"labelled": halves}, step)["contrast"]
            method.after_step(step)
        losses.append(loss.item())
        held.append(method.memory.keys)
    assert losses[0] != losses[1]
    assert torch.equal(*held)


def test_label_stride_defect(segmentor, batch):
    """Labels of every eighth pixel lie in the first quarter of a map at stride 4, row after row."""
    data = batch(CLASSES, images=1, size=(32, 64))
    target = torch.full_like(data.target, 255)
    target[0, 8, 24] = 2  # at stride 8 row 1 and column 3 of 4 x 8, so place 11: row 0 and column 11 of 8 x 16
    target[0, 0, 28] = 3  # what stands there at stride 4
    method = make(segmentor, **RELEASED_MEMORY, memory_defects=("label-stride",))
    data = dataclasses.replace(data, target=target)
    vectors, _ = embedded(method, data)
    method({"labelled": data}, 0)
    method.after_step(0)
    assert method.memory.filled.tolist() == [[0, 0, 1, 0]] * 2
    torch.testing.assert_close(method.memory.view()[2, 0].double(), vectors[0, 0, 11], rtol=0, atol=1e-6)


def test_one_group_defect(segmentor, halves):
    method = make(segmentor, **RELEASED_MEMORY, memory_defects=("one-group",))
    method({"labelled": halves}, 0)
    method.after_step(0)
    assert method.memory.filled[0].tolist() == [1, 2, 1, 0]


@pytest.mark.parametrize("options", [{}, RELEASED_MEMORY, PAPER], ids=["released", "memory", "paper"])
@pytest.mark.parametrize("case", ["all ignored", "one class", "one pixel", "large"])
@pytest.mark.parametrize("autocast", [False, True])
def test_degenerate_batches(segmentor, batch, options, case, autocast):
    method, data = make(segmentor, **{"max_views": 5, "min_pixels": 5, **options}), batch(CLASSES)
    target = torch.full_like(data.target, 2 if case == "one class" else 255)
    if case == "one pixel":
        target[0, 0, 0] = 1
    if case == "large":
        target = data.target
        with torch.no_grad():
            method.segmentor.classifier.weight.mul_(1e5)
            method.head.layers[3].weight.mul_(1e5)
    data = dataclasses.replace(data, target=target)
    for step in range(2):
        method.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            losses = method({"labelled": data}, step)
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
        sum(losses.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in method.head.parameters())
        method.after_step(step)
        assert all(value.isfinite().all() for value in method.state_dict().values())


def test_cross_entropies(segmentor, halves):
    losses = [make(segmentor, aux=True, ce_weight=weight)({"labelled": halves}, 0) for weight in (1.0, 0.25)]
    assert set(losses[0]) == {"ce", "aux", "contrast"}
    torch.testing.assert_close(losses[1]["ce"], 0.25 * losses[0]["ce"])
    assert torch.equal(losses[1]["aux"], losses[0]["aux"])


@pytest.mark.parametrize(
    "options",
    [
        {"form": "paper"},
        {"min_pixels": 99},
        {"keys": "memory", "regions_per_class": 0, "pixels_per_class": 0},
        {"memory_defects": ("noise",)},
        {"form": "paper", "keys": "memory", "memory_defects": ("noise",)},
        {"form": "released", "keys": "memory", "memory_defects": ("slow",)},
        {"temperature": 0},
        {"semi_hard_percent": 0},
        {"hard_anchor_share": 1.5},
        {"images_per_group": 0},
        {"extra_loss": {"name": "focal"}},
        {"unknown": 1},
    ],
    ids=str,
)
def test_refuses_options(options):
    with pytest.raises(ValidationError):
        Options.model_validate(options)


OTHER_VALUES = {
    "weight": 2.0, "temperature": 0.3, "base_temperature": 0.3, "starts_after_steps": 9, "images_per_group": 1,
    "exclude_classes": (1,), "features": "last", "embedding_dim": 5, "head_init": "kaiming", "hard_anchor_share": 0.0,
    "max_anchors": 3, "max_views": 1, "min_pixels": 33, "anchors_per_class": 2, "positives_per_anchor": 1,
    "negatives_per_anchor": 1, "semi_hard_percent": 40.0, "regions_per_class": 2, "pixels_per_class": 3,
    "regions_per_image": 0, "pixels_per_image": 1, "memory_defects": ("noise",),
}  # fmt: skip


@pytest.mark.parametrize("given", [{}, {"form": "released", "keys": "memory"}, {"form": "paper", "keys": "memory"}])
def test_options_name_the_fields_that_their_form_does_not_read(segmentor, halves, given):
    """A change of one of them changes nothing, and of every other one something."""
    names = set(Options.model_fields) - set(SupervisedOptions.model_fields) - {"form", "keys"}
    assert names == set(OTHER_VALUES)
    given = {**given, "max_views": 4, "min_pixels": 4, "anchors_per_class": 4, "semi_hard_percent": 25}

    def outcome(**more):
        method = make(segmentor, **{**given, **more})
        for step in range(2):
            losses = method({"labelled": halves}, step)
            method.after_step(step)
        return {"contrast": losses["contrast"].detach(), **method.state_dict()}

    def alike(one, two):
        return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)

    plain, unread = outcome(), Options(**given).unread()
    for name, value in OTHER_VALUES.items():
        try:
            other = outcome(**{name: value})
        except ValidationError:  # defects go with the release's memory
            assert name == "memory_defects"
            assert (given.get("form"), given.get("keys")) != ("released", "memory")
            continue
        assert alike(plain, other) == (name in unread), name


def test_survives_json():
    options = Options(form="paper", keys="memory", exclude_classes=(0,), extra_loss={"name": "rmi", "radius": 5})
    assert Options.model_validate(options.canonical()) == options


def test_inference_has_the_bare_network(segmentor):
    network = segmentor(CLASSES)
    assert build(Options(), network, num_classes=CLASSES, seed=0).predictor() is network


def test_the_cost_of_training_includes_the_head(segmentor, halves):
    _, embedding = make(segmentor).training_pass(halves.images)
    assert embedding.shape == (4, 6, 8, 8)


def test_other_losses_join_in(segmentor, halves):
    losses = make(segmentor, extra_loss={"name": "lovasz"})({"labelled": halves}, 0)
    assert set(losses) == {"ce", "lovasz", "contrast"}
