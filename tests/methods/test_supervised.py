import dataclasses

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.methods.supervised.method import build
from segbench.methods.supervised.options import Options


def test_losses_are_torchs_own(segmentor, batch):
    network, data = segmentor(5, aux=True), batch()
    weights = (1.0, 2.0, 0.5, 1.0, 3.0)
    method = build(Options(class_weights=weights, aux_weight=0.3), network, num_classes=5, seed=0)
    losses = method({"labelled": data}, 0)
    output = network(data.images)
    expected = {
        name: F.cross_entropy(network.resize(logits, (64, 96)), data.target, torch.tensor(weights), ignore_index=255)
        for name, logits in (("ce", output.logits), ("aux", output.aux["side"]))
    }
    assert set(losses) == {"ce", "aux"}
    torch.testing.assert_close(losses["ce"], expected["ce"])
    torch.testing.assert_close(losses["aux"], 0.3 * expected["aux"])


def test_without_auxiliary_logits(segmentor, batch):
    losses = build(Options(), segmentor(5), num_classes=5, seed=0)({"labelled": batch()}, 0)
    assert set(losses) == {"ce"}


def test_nothing_labelled(segmentor, batch):
    data = batch()
    data = dataclasses.replace(data, target=torch.full_like(data.target, 255))
    method = build(Options(), segmentor(5, aux=True), num_classes=5, seed=0)
    sum(method({"labelled": data}, 0).values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters() if parameter.grad is not None)


def test_named_weights(segmentor):
    method = build(Options(class_weights="cityscapes"), segmentor(19), num_classes=19, seed=0)
    assert method.class_weights.shape == (19,)
    assert "class_weights" not in method.state_dict()
    with pytest.raises(InvalidFault, match="19 class weights for 11 classes"):
        build(Options(class_weights="cityscapes"), segmentor(11), num_classes=11, seed=0)


@pytest.mark.parametrize("options", [{"class_weights": "citys"}, {"class_weights": [1, -1]}, {"aux_weight": -1}])
def test_refuses_options(options):
    with pytest.raises(ValidationError):
        Options.model_validate(options)


def test_predictor_is_the_bare_network(segmentor):
    network = segmentor(5)
    assert build(Options(), network, num_classes=5, seed=0).predictor() is network
