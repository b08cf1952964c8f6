import dataclasses
import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.methods.pixel_contrast.head import Projection
from segbench.methods.pixel_contrast.method import build
from segbench.methods.pixel_contrast.options import Options
from segbench.methods.supervised.options import Options as SupervisedOptions
from tests.methods.contrasting import (
    ALL_PIXELS,
    CLASSES,
    PAPER,
    RELEASED_MEMORY,
    embedded,
    filled_memory,
    log_loss,
    make,
    part,
    slow_group,
)
from tests.steps import at


def test_released_form_equals_the_formula_when_every_pixel_is_drawn(segmentor, halves):
    data = part(halves, 0, 1, 2)
    method = make(segmentor, **ALL_PIXELS, weight=0.3, base_temperature=0.05)
    method.eval()  # batch statistics would differ between the passes
    vectors, labels = embedded(method, data)
    groups = [slow_group(vectors[g], labels[g]) for g in (slice(0, 2), slice(2, 3))]
    losses = method({"labelled": data}, at(0))
    assert set(losses) == {"ce", "contrast"}
    assert losses["contrast"].item() == pytest.approx(0.3 * 0.1 / 0.05 * sum(groups) / 2, rel=1e-5)


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
    assert method({"labelled": data}, at(0))["contrast"].item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


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
    assert method({"labelled": data}, at(0))["contrast"].item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_one_device_with_a_batch_is_many_devices_with_groups(segmentor, halves):
    """Means over groups, with draws that do not depend on what the other groups show."""
    for options in (ALL_PIXELS, {"max_views": 5, "min_pixels": 5}):
        method = make(segmentor, **options)
        method.eval()
        first, whole = (method({"labelled": data}, at(7))["contrast"] for data in (part(halves, 0, 1), halves))
        nothing = dataclasses.replace(halves, target=halves.target.clone())
        nothing.target[2:] = 255
        torch.testing.assert_close(method({"labelled": nothing}, at(7))["contrast"], first / 2)
        if options is ALL_PIXELS:
            second = method({"labelled": part(halves, 2, 3)}, at(7))["contrast"]
            torch.testing.assert_close(whole, (first + second) / 2)
    together = make(segmentor, images_per_group=None, **ALL_PIXELS).eval()
    expected = slow_group(*embedded(together, halves))
    assert together({"labelled": halves}, at(0))["contrast"].item() == pytest.approx(expected, rel=1e-5)


def test_embeds_the_last_layer_where_it_is_told_to(segmentor, halves):
    method = make(segmentor, features="last")
    assert method.head.layers[0].in_channels == 12
    assert method.head(method.segmentor(halves.images).layers).maps.shape == (4, 6, 1, 1)
    assert make(segmentor).head(method.segmentor(halves.images).layers).maps.shape == (4, 6, 8, 8)


@pytest.mark.parametrize("options", [{}, RELEASED_MEMORY, PAPER], ids=["released", "memory", "paper"])
def test_layers_that_are_joined_already_are_not_joined_again(segmentor, halves, options):
    """The same loss and the same gradients, and the head takes what it is given."""
    found = []
    for joins in (False, True):
        method = make(segmentor, **{"max_views": 5, "min_pixels": 5, **options}).double()
        data = dataclasses.replace(halves, images=halves.images.double())
        if method.memory is not None:
            filled_memory(method)

        def join(module, inputs, output):
            resized = [F.interpolate(layer, (8, 8), mode="bilinear") for layer in output.layers]
            return output._replace(joined=torch.cat(resized, 1))

        if joins:
            method.segmentor.register_forward_hook(join)
        loss = method({"labelled": data}, at(0))["contrast"]
        found.append((loss, *torch.autograd.grad(loss, list(method.segmentor.layers.parameters()))))
    for alone, together in zip(*found, strict=True):
        torch.testing.assert_close(alone, together, rtol=1e-6, atol=1e-12)
    head = make(segmentor).head
    layers, joined, places = [torch.zeros(1, 6, 5, 7)], torch.randn(1, 36, 5, 7), torch.tensor([0, 34])
    assert torch.equal(head(layers, joined).maps, head.layers(joined))
    assert head(layers, joined).pixels is None
    got = head(layers, joined, places=places, maps=False)
    assert got.maps is None
    torch.testing.assert_close(got.pixels, head.layers(joined)[0].flatten(1).T[[0, 34]])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_single_pixels_are_embedded_as_the_maps_are(segmentor, training, layout):
    """Embeddings, gradients and statistics are those of PyTorch's layers on whole maps, some of them taken twice."""
    places = torch.tensor([0, 29, 7, 7, 16, 0])
    joined = torch.randn(2, 36, 3, 5, dtype=torch.float64).mul(3).add(1).to(memory_format=layout)
    weights = torch.randn(6, 6, dtype=torch.float64)
    found = []
    for single in (True, False):
        torch.manual_seed(2)
        head = make(segmentor).head.double().train(training)
        nn.init.uniform_(head.layers[1].weight, 0.5, 2)
        nn.init.normal_(head.layers[1].bias)
        given = joined.clone().requires_grad_()
        for _ in range(2):
            if single:
                maps, vectors = head([given], given, places=places)
            else:
                maps = head.layers(given)
                vectors = maps.movedim(1, -1).flatten(0, 2)[places]
        gradients = torch.autograd.grad((vectors * weights).sum(), [given, *head.parameters()])
        assert maps.requires_grad != single
        found.append([vectors, maps, *gradients, *head.buffers()])
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-11)
    assert found[0][2].stride() == found[1][2].stride()


def test_batch_norm_says_that_it_takes_more_than_one_value(segmentor):
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        make(segmentor).head([torch.randn(1, 36, 1, 1)], torch.randn(1, 36, 1, 1), places=torch.tensor([0]))


def test_embeds_single_pixels_in_bfloat16(segmentor):
    """About as far from float32 as the layers on whole maps are."""
    head, joined, places = make(segmentor).head, torch.randn(2, 36, 8, 8).requires_grad_(), torch.arange(0, 128, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vectors = head([joined], joined, places=places).pixels
        whole = head.layers(joined).movedim(1, -1).flatten(0, 2)[places]
    exact = head.layers(joined).movedim(1, -1).flatten(0, 2)[places]
    weights = torch.randn_like(exact)
    gradients = [torch.autograd.grad((each * weights).sum(), joined)[0] for each in (vectors, whole, exact)]
    assert vectors.dtype == torch.bfloat16
    assert (vectors - exact).abs().max() <= 1.5 * (whole - exact).abs().max()
    assert (gradients[0] - gradients[2]).norm() <= 1.2 * (gradients[1] - gradients[2]).norm()


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
        networks.append(method({"labelled": part(halves, 0, 1)}, at(0))["contrast"].item())
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
    first, again, later = (method({"labelled": halves}, at(step))["contrast"].item() for step in (0, 0, 1))
    assert first == again != later


@pytest.mark.parametrize("options", [{}, RELEASED_MEMORY, PAPER], ids=["released", "memory", "paper"])
def test_waits_for_its_start(segmentor, halves, options):
    method = make(segmentor, **{"max_views": 5, "min_pixels": 5, **options}, starts_after_steps=2)
    for step in (0, 1):
        waiting = method({"labelled": halves}, at(step))["contrast"]
        waiting.backward()
        method.after_step(at(step))
        assert waiting.item() == 0
        assert all(not p.grad.any() for p in method.head.parameters())
    loss = method({"labelled": halves}, at(2))["contrast"]  # the memory was filled meanwhile
    loss.backward()
    assert loss.item() > 0
    assert any(p.grad.any() for p in method.head.parameters())


def test_steps_fill_the_memory(segmentor, halves):
    method = make(segmentor, **PAPER, starts_after_steps=9)
    for step in range(2):
        method({"labelled": halves}, at(step))
        regions, pixels = [2 * step, 3 * step, step, 2 * step], [6 * step, 9 * step, 3 * step, 6 * step]
        assert method.memory.filled.tolist() == [[min(5, n) for n in regions], [min(8, n) for n in pixels]]
        vectors, labels = embedded(method, halves)
        method.after_step(at(step))
    held = method.memory.view()[:, :5].double()
    for place, (image, c) in enumerate(((0, 1), (1, 1), (2, 1)), 3):  # the newest three of class 1 after three before
        mean = vectors[image][labels[image] == c].mean(0)
        torch.testing.assert_close(held[1, place % 5], mean / mean.norm(), rtol=0, atol=1e-6)
    for c in range(CLASSES):
        held = method.memory.view()[c, 5:][method.memory.valid()[c, 5:]].double()
        distances = (held[:, None] - vectors[labels == c]).abs().amax(-1).amin(1)
        assert distances.max() < 1e-6


def test_the_memory_is_saved_and_only_training_fills_it(segmentor, halves):
    method, other = (make(segmentor, **PAPER, starts_after_steps=2) for _ in range(2))
    for step in range(3):
        method({"labelled": halves}, at(step))
        method.after_step(at(step))
    other.load_state_dict(method.state_dict())
    for each in (method, other):
        each.train()
    one, two = (each({"labelled": halves}, at(3))["contrast"] for each in (method, other))
    assert torch.equal(one, two)
    for each in (method, other):
        each.after_step(at(3))
    assert torch.equal(method.memory.keys, other.memory.keys)
    method.eval()
    before = method.memory.filled.clone()
    for step in (4, 0):  # the contrast counts from step 2 on
        method({"labelled": halves}, at(step))
        method.after_step(at(step))
        assert torch.equal(method.memory.filled, before)


def test_micro_batches_fill_the_memory_as_the_batch(segmentor, halves):
    """All of them see the memory as it was before the step."""
    counts = []
    for parts in ([halves], [part(halves, 0, 1), part(halves, 2, 3)]):
        method = make(segmentor, **PAPER)
        for number, data in enumerate(parts):
            method({"labelled": data}, at(0, micro_batch=number))
            assert not method.memory.filled.any()
        method.after_step(at(0))
        counts.append(method.memory.filled.tolist())
    assert counts[0] == counts[1]


@pytest.mark.parametrize("given_up", [[(1, 0)], [(2, 0)], [(2, 0), (2, 1)], [(1, 0), (1, 1), (2, 0)]], ids=str)
def test_a_step_begun_anew_fills_the_memory_once(segmentor, halves, given_up):
    """Nothing is left of abandoned (step, micro-batch) pairs; step 2 has two micro-batches of two images each."""
    method = make(segmentor, **PAPER)
    parts = (part(halves, 0, 1), part(halves, 2, 3))
    for step, number in [*given_up, (2, 0), (2, 1)]:
        method({"labelled": parts[number]}, at(step, micro_batch=number))
    method.after_step(at(2))
    assert method.memory.filled[0].tolist() == [2, 3, 1, 2]
    method.after_step(at(2))
    assert method.memory.filled[0].tolist() == [2, 3, 1, 2]


def test_excluded_classes_give_neither_anchors_nor_keys(segmentor, halves):
    ignored = dataclasses.replace(halves, target=torch.where(halves.target == 1, 255, halves.target))
    for options in ({"max_views": 5, "min_pixels": 5}, PAPER):
        plain, without = make(segmentor, **options), make(segmentor, exclude_classes=(1,), **options)
        losses = []
        for method, data in ((plain, ignored), (without, halves)):
            for step in range(2):
                loss = method({"labelled": data}, at(step))["contrast"]
                method.after_step(at(step))
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
            method({"labelled": halves}, at(step))
            method.after_step(at(step))
        held.append((method.memory.view() * method.memory.valid()[..., None], method.memory.valid()))
    assert not (torch.equal(held[0][0], held[1][0]) and torch.equal(held[0][1], held[1][1]))


def test_self_mask_defect_changes_the_loss_alone(segmentor, halves):
    losses, held = [], []
    for defects in ((), ("self-mask",)):
        method = make(segmentor, **RELEASED_MEMORY, memory_defects=defects)
        for step in range(2):
            loss = method({"labelled": halves}, at(step))["contrast"]
            method.after_step(at(step))
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
    method({"labelled": data}, at(0))
    method.after_step(at(0))
    assert method.memory.filled.tolist() == [[0, 0, 1, 0]] * 2
    torch.testing.assert_close(method.memory.view()[2, 0].double(), vectors[0, 0, 11], rtol=0, atol=1e-6)


def test_one_group_defect(segmentor, halves):
    method = make(segmentor, **RELEASED_MEMORY, memory_defects=("one-group",))
    method({"labelled": halves}, at(0))
    method.after_step(at(0))
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
            losses = method({"labelled": data}, at(step))
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
        sum(losses.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in method.head.parameters())
        method.after_step(at(step))
        assert all(value.isfinite().all() for value in method.state_dict().values())


def test_cross_entropies(segmentor, halves):
    losses = [make(segmentor, aux=True, ce_weight=weight)({"labelled": halves}, at(0)) for weight in (1.0, 0.25)]
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
            losses = method({"labelled": halves}, at(step))
            method.after_step(at(step))
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
    losses = make(segmentor, extra_loss={"name": "lovasz"})({"labelled": halves}, at(0))
    assert set(losses) == {"ce", "lovasz", "contrast"}
