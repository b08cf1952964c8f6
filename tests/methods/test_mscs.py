import dataclasses
import math

import pytest
import torch
from pydantic import ValidationError

from segbench.methods.mscs.method import build
from segbench.methods.mscs.options import Options
from tests.steps import at

CLASSES = 3


def make(segmentor, **options):
    torch.manual_seed(1)
    return build(Options(embedding_dim=6, **options), segmentor(CLASSES), num_classes=CLASSES, seed=3)


def halves(batch):
    """Two images of two classes each, half and half: all pairs are equally large."""
    data = batch(CLASSES, size=(32, 64))
    target = torch.full_like(data.target, 255)
    target[0, :, :32], target[0, :, 32:] = 0, 1
    target[1, :, :32], target[1, :, 32:] = 2, 1
    return dataclasses.replace(data, target=target)


def rows(embeddings, target):
    """All labelled pixels of a scale as (image, label, unit vector)."""
    images, _, height, width = embeddings.shape
    found = []
    for n in range(images):
        for i in range(height):
            for j in range(width):
                label = int(target[n, i * target.shape[1] // height, j * target.shape[2] // width])
                if label != 255:
                    vector = embeddings[n, :, i, j].double()
                    found.append((n, label, vector / vector.norm()))
    return found


def contrast(anchors, others, *, within):
    total = 0.0
    for index, (_, label, anchor) in enumerate(anchors):
        scores = [math.exp(float(anchor @ vector) / 0.1) for _, _, vector in others]
        crowd = sum(s for s, (_, other, _) in zip(scores, others, strict=True) if other != label)
        losses = [
            -math.log(s / (s + crowd))
            for place, (s, (_, other, _)) in enumerate(zip(scores, others, strict=True))
            if other == label and not (within and place == index)
        ]
        total += sum(losses) / len(losses) if losses else 0.0
    return total / len(anchors)


def test_equals_the_formula_when_every_pixel_is_drawn(segmentor, batch):
    """Images of two classes, half and half: all pairs are equally large, so the draw takes every pixel."""
    data = halves(batch)
    target = data.target
    method = make(
        segmentor, min_pixels=1, layer_weights={1: 1.0, 2: 0.5, 3: 0.25}, cross_pairs=((1, 4), (2, 3)), alpha=0.2
    )
    method.eval()
    losses = method({"labelled": data}, at(0))
    with torch.no_grad():
        embedded = method.heads(method.segmentor(data.images).layers)
    scales = {layer: rows(values, target) for layer, values in embedded.items()}
    within = sum(w * contrast(scales[s], scales[s], within=True) for s, w in ((1, 1.0), (2, 0.5), (3, 0.25)))
    across = contrast(scales[1], scales[4], within=False) + contrast(scales[2], scales[3], within=False)
    assert losses["cms"].item() == pytest.approx(0.2 * within, rel=1e-5)
    assert losses["ccs"].item() == pytest.approx(0.2 * across, rel=1e-5)


def test_groups_are_contrasted_apart(segmentor, batch):
    """The mean of what the formula gives of each group alone."""
    data = halves(batch)
    target = data.target
    method = make(segmentor, min_pixels=1, layer_weights={1: 1.0}, cross_pairs=((1, 4),), alpha=1, images_per_group=1)
    method.eval()
    losses = method({"labelled": data}, at(0))
    with torch.no_grad():
        embedded = method.heads(method.segmentor(data.images).layers)
    scales = [{layer: rows(values[n : n + 1], target[n : n + 1]) for layer, values in embedded.items()} for n in (0, 1)]
    within = sum(contrast(scale[1], scale[1], within=True) for scale in scales) / 2
    across = sum(contrast(scale[1], scale[4], within=False) for scale in scales) / 2
    assert losses["cms"].item() == pytest.approx(within, rel=1e-5)
    assert losses["ccs"].item() == pytest.approx(across, rel=1e-5)
    assert Options(images_per_group=2).across_images_of(5) == {"contrasted samples": (2, 2, 1)}
    whole = make(segmentor, min_pixels=1, layer_weights={1: 1.0}, cross_pairs=((1, 4),), alpha=1).eval()
    assert whole({"labelled": data}, at(0))["cms"].item() != pytest.approx(losses["cms"].item(), rel=1e-3)


def test_defaults_are_the_released_values():
    options = Options()
    assert (options.alpha, options.temperature, options.cross_weight) == (0.1, 0.1, 1.0)
    assert options.layer_weights == {1: 1.0, 2: 0.7, 3: 0.4, 4: 0.1}
    assert options.cross_pairs == ((1, 4), (1, 3))
    assert (options.samples_per_pair, options.samples_per_scale, options.min_pixels) == (2500, 10000, 5)
    assert options.canonical() == {}


def test_draws_follow_seed_and_step(segmentor, batch):
    method, data = make(segmentor), {"labelled": batch(CLASSES)}
    first, again, later = (method(data, at(step))["cms"].item() for step in (0, 0, 1))
    assert first == again != later


@pytest.mark.parametrize("detach", [False, True])
def test_every_head_has_a_gradient(segmentor, batch, detach):
    method = make(segmentor, layer_weights={1: 1.0}, detach_coarse=detach)
    losses = method({"labelled": batch(CLASSES)}, at(0))
    losses["ccs"].backward()
    grads = [p.grad.abs().sum().item() for p in method.heads.heads["3"].parameters()]
    assert all(grad == 0 for grad in grads) if detach else any(grad > 0 for grad in grads)
    assert all(p.grad is not None for p in method.heads.parameters())


@pytest.mark.parametrize("case", ["all ignored", "one class", "one pixel"])
@pytest.mark.parametrize("autocast", [False, True])
def test_degenerate_batches(segmentor, batch, case, autocast):
    method, data = make(segmentor), batch(CLASSES)
    target = torch.full_like(data.target, 2 if case == "one class" else 255)
    if case == "one pixel":
        target[0, 0, 0] = 1
    data = dataclasses.replace(data, target=target)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        losses = method({"labelled": data}, at(0))
    assert set(losses) == {"ce", "cms", "ccs"}
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("options", [{"cross_pairs": ((2, 2),)}, {"layer_weights": {}, "cross_pairs": ()}], ids=str)
def test_refuses_options(options):
    with pytest.raises(ValidationError):
        Options.model_validate(options)


def test_the_cost_of_training_includes_the_heads(segmentor, batch):
    method = make(segmentor)
    _, embedded = method.training_pass(batch(CLASSES).images)
    assert {layer: values.shape[1] for layer, values in embedded.items()} == {1: 6, 2: 6, 3: 6, 4: 6}
