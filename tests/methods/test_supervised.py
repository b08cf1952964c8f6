import dataclasses

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.losses.hard_pixels import hard_cross_entropy
from segbench.methods.step import StepInfo
from segbench.methods.supervised.method import build
from segbench.methods.supervised.options import Options
from tests.steps import at


def test_losses_are_torchs_own(segmentor, batch):
    network, data = segmentor(5, aux=True), batch()
    weights = (1.0, 2.0, 0.5, 1.0, 3.0)
    method = build(Options(class_weights=weights, aux_weight=0.3), network, num_classes=5, seed=0)
    losses = method({"labelled": data}, at(0))
    output = network(data.images)
    expected = {
        name: F.cross_entropy(network.resize(logits, (64, 96)), data.target, torch.tensor(weights), ignore_index=255)
        for name, logits in (("ce", output.logits), ("aux", output.aux["side"]))
    }
    assert set(losses) == {"ce", "aux"}
    torch.testing.assert_close(losses["ce"], expected["ce"])
    torch.testing.assert_close(losses["aux"], 0.3 * expected["aux"])


PLACES = ("labels", "logits")


@pytest.mark.parametrize("aux_at", [*PLACES, None])
@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("size", [(64, 96), (60, 100)])  # of the second, every label's place is rounded
def test_auxiliary_loss_at_a_place_of_its_own(segmentor, batch, at, aux_at, size):
    """Labels are shrunk as torch's nearest neighbour does, logits enlarged by torch; None is where the main loss is."""
    network, data = segmentor(5, aux=True), batch(size=size)
    method = build(Options(loss_at=at, aux_loss_at=aux_at, aux_weight=0.3), network, num_classes=5, seed=0)
    losses = method({"labelled": data}, StepInfo(0, 10))
    output = network(data.images)

    def loss(logits, place):
        if place == "labels":
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        labels = F.interpolate(data.target[:, None].double(), logits.shape[-2:], mode="nearest")[:, 0].long()
        return F.cross_entropy(logits, labels, ignore_index=255)

    torch.testing.assert_close(losses["ce"], loss(output.logits, at))
    torch.testing.assert_close(losses["aux"], 0.3 * loss(output.aux["side"], aux_at or at))
    assert not torch.isclose(loss(output.aux["side"], "labels"), loss(output.aux["side"], "logits"), rtol=1e-4)


def test_without_auxiliary_logits(segmentor, batch):
    losses = build(Options(), segmentor(5), num_classes=5, seed=0)({"labelled": batch()}, at(0))
    assert set(losses) == {"ce"}


def test_nothing_labelled(segmentor, batch):
    data = batch()
    data = dataclasses.replace(data, target=torch.full_like(data.target, 255))
    method = build(Options(), segmentor(5, aux=True), num_classes=5, seed=0)
    sum(method({"labelled": data}, at(0)).values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters() if parameter.grad is not None)


def test_named_weights(segmentor):
    method = build(Options(class_weights="cityscapes"), segmentor(19), num_classes=19, seed=0)
    assert method.class_weights.shape == (19,)
    assert "class_weights" not in method.state_dict()
    with pytest.raises(InvalidFault, match="19 class weights for 11 classes"):
        build(Options(class_weights="cityscapes"), segmentor(11), num_classes=11, seed=0)


@pytest.mark.parametrize(
    "options",
    [
        {"class_weights": "citys"},
        {"class_weights": [1, -1]},
        {"aux_weight": -1},
        {"aux_weight": {"aux": -1}},
        {"aux_loss_at": "images"},
        {"ohem": {"threshold": 0}},
        {"ohem": {"min_share": 1.5}},
        {"ohem": {"min_pixels": 100000}},
        {"ohem": {"on": "aux"}},
        {"ohem": {"images_per_group": 0}},
    ],
)
def test_refuses_options(options):
    with pytest.raises(ValidationError):
        Options.model_validate(options)


def test_predictor_is_the_bare_network(segmentor):
    network = segmentor(5)
    assert build(Options(), network, num_classes=5, seed=0).predictor() is network


@pytest.fixture
def two_heads(segmentor):
    """A function that makes a network with auxiliary logits of two names."""

    def make(num_classes):
        network = segmentor(num_classes, aux=True)
        plain = network.forward

        def forward(images, rows=None):
            output = plain(images, rows)
            return output._replace(aux={**output.aux, "coarse": output.logits.flip(1)})

        network.forward = forward
        return network

    return make


def test_auxiliary_weights_by_name(two_heads, batch):
    network, data = two_heads(5), batch()
    method = build(Options(ce_weight=0.7, aux_weight={"side": 0.4, "coarse": 0.6}), network, num_classes=5, seed=0)
    losses = method({"labelled": data}, at(0))
    output = network(data.images)

    def plain(logits):
        return F.cross_entropy(network.resize(logits, (64, 96)), data.target, ignore_index=255)

    torch.testing.assert_close(losses["ce"], 0.7 * plain(output.logits))
    torch.testing.assert_close(losses["aux"], 0.4 * plain(output.aux["side"]) + 0.6 * plain(output.aux["coarse"]))
    alike = build(Options(aux_weight=0.3), network, num_classes=5, seed=0)({"labelled": data}, at(0))
    torch.testing.assert_close(alike["aux"], 0.3 * (plain(output.aux["side"]) + plain(output.aux["coarse"])))


@pytest.mark.parametrize(
    ("weights", "faults"),
    [
        (
            {"side": 0.4, "coarse": 0.6, "fine": 1.0},
            ["aux_weight names 'fine'; the network's auxiliary logits: 'side', 'coarse'."],
        ),
        ({"side": 0.4}, ["aux_weight lacks the auxiliary logits 'coarse'."]),
        (
            {"aux": 0.5},
            [
                "aux_weight names 'aux'; the network's auxiliary logits: 'side', 'coarse'.",
                "aux_weight lacks the auxiliary logits 'side'.",
                "aux_weight lacks the auxiliary logits 'coarse'.",
            ],
        ),
    ],
)
def test_auxiliary_weights_must_be_those_of_the_network(two_heads, batch, weights, faults):
    method = build(Options(aux_weight=weights), two_heads(5), num_classes=5, seed=0)
    with pytest.raises(InvalidFault) as caught:
        method({"labelled": batch()}, at(0))
    assert list(caught.value.faults) == faults
    assert caught.value.next.startswith('the same command with --set "method.aux_weight={side: 0.4, coarse: 0.')
    method.eval()  # in evaluation a network may give fewer, never unknown ones
    if "coarse" in weights:
        method({"labelled": batch()}, at(0))


def test_auxiliary_weights_of_a_network_without_auxiliary_logits(segmentor, batch):
    method = build(Options(aux_weight={"aux": 0.4}), segmentor(5), num_classes=5, seed=0)
    with pytest.raises(InvalidFault, match="names 'aux'; the network's auxiliary logits: none") as caught:
        method({"labelled": batch()}, at(0))
    assert caught.value.next == "the same command with --set method.aux_weight=0.4"


@pytest.mark.parametrize("on", ["main", "all"])
@pytest.mark.parametrize("group", [None, 1, 2, 3])
def test_hard_pixels_of_each_group(segmentor, batch, on, group):
    """Each group of images gives one mean, over its own hard pixels; at least the share of its own pixels."""
    network, data = segmentor(5, aux=True), batch(images=5)
    weights = (1.0, 2.0, 0.5, 1.0, 3.0)
    ohem = {"threshold": 0.1, "min_share": 0.25, "on": on, "images_per_group": group}
    options = Options.model_validate({"class_weights": weights, "ce_weight": 0.7, "ohem": ohem})
    losses = build(options, network, num_classes=5, seed=0)({"labelled": data}, at(0))
    output = network(data.images)

    def mined(logits):
        logits, size, means = network.resize(logits, (64, 96)), group or 5, []
        for start in range(0, 5, size):
            part = slice(start, min(start + size, 5))
            count = (part.stop - start) * 64 * 96 // 4
            loss = hard_cross_entropy(
                logits[part], data.target[part], threshold=0.1, min_pixels=count, class_weights=torch.tensor(weights)
            )
            means.append(loss)
        return sum(means) / len(means)

    plain = F.cross_entropy(
        network.resize(output.aux["side"], (64, 96)), data.target, torch.tensor(weights), ignore_index=255
    )
    torch.testing.assert_close(losses["ce"], 0.7 * mined(output.logits))
    torch.testing.assert_close(losses["aux"], 0.4 * (mined(output.aux["side"]) if on == "all" else plain))
    assert not torch.isclose(mined(output.aux["side"]), plain, rtol=0.01)


def test_hard_pixels_with_nothing_labelled(segmentor, batch):
    data = batch()
    data = dataclasses.replace(data, target=torch.full_like(data.target, 255))
    options = Options.model_validate({"ohem": {"min_share": 0.1, "images_per_group": 1}})
    method = build(options, segmentor(5), num_classes=5, seed=0)
    loss = method({"labelled": data}, at(0))["ce"]
    loss.backward()
    assert loss == 0
