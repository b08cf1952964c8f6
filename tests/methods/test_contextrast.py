import dataclasses
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import distance_transform_edt

from segbench.core.errors import InvalidFault
from segbench.methods.contextrast.method import build, contextrast_loss
from segbench.methods.contextrast.options import Options
from tests.steps import at

CLASSES = 5


def make(segmentor, *, aux=False, **options):
    torch.manual_seed(1)
    return build(Options(embedding_dim=8, **options), segmentor(CLASSES, aux=aux), num_classes=CLASSES, seed=3)


def nearest(labels, size):
    height, width = labels.shape[-2:]
    rows = [i * height // size[0] for i in range(size[0])]
    columns = [j * width // size[1] for j in range(size[1])]
    return labels[:, rows][:, :, columns]


def slow_pixel_anchor(embeddings, target, prediction, weights, *, shared, updated, share, tau=0.1, percent=50):
    """The whole PA loss in NumPy float64: layer by layer, class by class, image by image; ties in raster order."""
    pixels, labels, guesses = {}, {}, {}
    for layer, values in embeddings.items():
        size = values.shape[-2:]
        labels[layer], guesses[layer] = nearest(target, size), nearest(prediction, size)
        pixels[layer] = np.moveaxis(values / np.linalg.norm(values, axis=1, keepdims=True), 1, -1)

    def mean(layer, n):
        members = labels[layer] == n
        return pixels[layer][members].mean(0) if members.any() else None

    total = 0.0
    for layer, weight in weights.items():
        selected = np.zeros(labels[layer].shape, bool)
        for n in range(CLASSES):
            for image in range(len(target)):
                errors = (labels[layer][image] == n) & (guesses[layer][image] != n)
                distance = np.full(errors.shape, np.inf) if errors.all() else distance_transform_edt(errors)
                places = sorted((distance[i, j], i, j) for i, j in np.argwhere(errors))
                for _, i, j in places[: math.ceil(percent * len(places) / 100)]:
                    selected[image, i, j] = True
        terms = []
        for n in range(CLASSES):
            anchor, common = mean(layer, n), mean(shared, n)
            negatives = pixels[layer][selected & (labels[layer] != n)]
            if anchor is None or not len(negatives):
                continue
            if layer in updated and common is not None:
                anchor = share[0] * anchor + share[1] * common
            anchor = anchor / np.linalg.norm(anchor)
            crowd = np.exp(negatives @ anchor / tau).sum()
            own = np.exp(pixels[layer][labels[layer] == n] @ anchor / tau)
            terms.append(-np.log(own / (own + crowd)).mean())
        total += weight * np.mean(terms) if terms else 0.0
    return total


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shared_layer": 1},
        {"anchor_layers": (4,)},
        {"anchor_layers": (4, 3), "shared_weights": (0.3, 0.7)},
        {"layer_weights": {4: 0.1, 3: 0.4, 2: 0.7, 1: 1.0}, "alpha": 0.5},
        {"loss_layers": (2, 1)},
        {"temperature": 0.5, "bane_percent": 20},
    ],
    ids=str,
)
def test_equals_the_formula(segmentor, batch, options):
    method, data = make(segmentor, ties="raster", **options), batch(CLASSES)
    method.eval()  # batch statistics would differ between the two passes through the heads
    losses = method({"labelled": data}, at(0))
    said = method.options
    output = method.segmentor(data.images)
    embeddings = {layer: values.detach().double().numpy() for layer, values in method.heads(output.layers).items()}
    expected = said.alpha * slow_pixel_anchor(
        embeddings,
        data.target.numpy(),
        output.logits.argmax(1).numpy(),
        said.weighted_layers(),
        shared=said.shared_layer,
        updated=said.anchor_layers,
        share=said.shared_weights,
        tau=said.temperature,
        percent=said.bane_percent,
    )
    assert set(losses) == {"ce", "pa"}
    assert losses["pa"].item() == pytest.approx(expected, rel=1e-5)
    assert expected > 0.01


def test_defaults_are_the_publications():
    options = Options()
    assert options.alpha == 0.1
    assert options.layer_weights == {4: 1.0, 3: 0.7, 2: 0.4, 1: 0.1}
    assert (options.temperature, options.bane_percent, options.embedding_dim) == (0.1, 50, 256)
    assert options.canonical() == {}


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": "random"},
        {"sampler": "semi_hard"},
        {"distance": "edge"},
        {"percentile": "batch"},
        {"negatives": "fp_only"},
        {"negatives": "literal"},
        {"normalise_anchors": False},
        {"positives_per_class": 10},
    ],
    ids=str,
)
def test_every_option_changes_the_loss_and_trains_everything(segmentor, batch, options):
    data = {"labelled": batch(CLASSES)}
    plain, method = make(segmentor, bane_percent=80), make(segmentor, bane_percent=80, **options)
    loss = method(data, at(0))["pa"]
    assert loss.item() != plain(data, at(0))["pa"].item()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in method.heads.parameters())
    assert all(p.grad.abs().sum() > 0 for name, p in method.heads.named_parameters() if name.endswith("3.weight"))


def test_detached_anchors_leave_no_parameter_without_a_gradient(segmentor, batch):
    method = make(segmentor, detach_anchors=True, loss_layers=(1,))
    sum(method({"labelled": batch(CLASSES)}, at(0)).values()).backward()
    assert all(p.grad is not None for p in method.heads.parameters())


def test_draws_follow_seed_and_step(segmentor, batch):
    method, data = make(segmentor), {"labelled": batch(CLASSES)}
    first, again, later = (method(data, at(step))["pa"].item() for step in (0, 0, 1))
    assert first == again != later


def test_waits_for_its_start(segmentor, batch):
    method, data = make(segmentor, starts_at_step=2), {"labelled": batch(CLASSES)}
    waiting = method(data, at(1))["pa"]
    waiting.backward()
    assert waiting.item() == 0
    assert all(p.grad is not None for p in method.heads.parameters())
    assert method(data, at(2))["pa"].item() > 0


def test_auxiliary_loss_stays(segmentor, batch):
    assert set(make(segmentor, aux=True)({"labelled": batch(CLASSES)}, at(0))) == {"ce", "aux", "pa"}


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
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_ignored_pixels_reach_no_contrast(segmentor, batch):
    method, data = make(segmentor), batch(CLASSES)
    method.eval()
    output = method.segmentor(data.images)
    layers = method.heads(output.layers)
    loss = contextrast_loss(
        layers,
        data.target,
        output.logits.argmax(1),
        options=method.options,
        num_classes=CLASSES,
        generator=method.generator(at(0)),
    )
    grads = torch.autograd.grad(loss, list(layers.values()))
    for grad in grads:
        ignored = torch.from_numpy(nearest(data.target.numpy(), grad.shape[-2:]) == 255)
        assert not grad.movedim(1, -1)[ignored].any()
        assert grad.movedim(1, -1)[~ignored].any()


def test_inference_has_the_bare_network(segmentor):
    network = segmentor(CLASSES)
    before = sum(p.numel() for p in network.parameters())
    method = build(Options(), network, num_classes=CLASSES, seed=0)
    assert method.predictor() is network
    assert sum(p.numel() for p in method.predictor().parameters()) == before


def test_only_needed_heads(segmentor):
    assert set(make(segmentor, loss_layers=(2,)).heads.heads) == {"2", "4"}
    assert set(make(segmentor, loss_layers=(2,), anchor_layers=(4,)).heads.heads) == {"2"}


def test_equal_meanings_have_equal_ids():
    assert Options(anchor_layers=(1, 2, 3, 4)).id() == Options().id()
    assert Options(anchor_layers=(3, 4)).id() == Options(anchor_layers=(4, 3)).id()
    written = Options.model_validate({"layer_weights": {1: 0.1, 2: 0.4, 3: 0.7, 4: 1.0}})
    assert written.id() == Options().id()


def test_survives_json():
    options = Options(layer_weights={4: 1.0, 1: 0.5}, loss_layers=(1,), shared_weights=(0.1, 0.9))
    assert Options.model_validate(options.canonical()) == options


@pytest.mark.parametrize(
    "options",
    [
        {"shared_weights": (0.5, 0.6)},
        {"loss_layers": (5,)},
        {"layer_weights": {}},
        {"temperature": 0},
        {"bane_percent": 0},
        {"ties": "raster", "sampler": "random"},
        {"sampler": "hard"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_refuses_options(options):
    with pytest.raises(ValidationError):
        Options.model_validate(options)


def test_refuses_a_layer_that_the_encoder_lacks(segmentor):
    with pytest.raises(InvalidFault, match="layer 5"):
        make(segmentor, layer_weights={5: 1.0})


def test_the_cost_of_training_includes_the_heads(segmentor, batch):
    method = make(segmentor)
    _, embedded = method.training_pass(batch(CLASSES).images)
    assert {layer: values.shape[1] for layer, values in embedded.items()} == {1: 8, 2: 8, 3: 8, 4: 8}
