"""The row of HANet says what its released code does, and its budgets keep it."""

import pytest
import torch

from segbench.core import registry
from segbench.methods.build import build_method
from segbench.recipe.resolve import Request, resolve


def training(shipped, budget):
    resolved = resolve(shipped, "contrastiveseg-table1", "hanet-r101", "cityscapes", Request(budget=budget))
    assert resolved.unsupported == []
    (stage,) = resolved.ran.training.stages
    return stage


def decoder_of(stage):
    return registry.options_of("decoder", "hanet").model_validate(stage.model.decoder.options)


def test_as_published(shipped):
    stage = training(shipped, "full")
    augmentation = stage.streams["labelled"].augmentation
    assert (augmentation.class_uniform.share, augmentation.class_uniform.tile) == (0.5, 1024)
    assert (augmentation.padding, augmentation.padding_colour, augmentation.decisions) == ("centre", "black", "image")
    assert stage.method.name == "supervised"
    method = registry.options_of("method", "supervised").model_validate(stage.method.options)
    assert (method.aux_weight, method.loss_at, method.aux_loss_at) == (0.4, "labels", "logits")
    decoder = decoder_of(stage)
    assert (decoder.slots, decoder.reduction, decoder.unit_weight_decay) == (16, 64, 1e-4)
    assert stage.schedule.optimizer.weight_decay == 5e-4


@pytest.mark.parametrize(("budget", "data_scale"), [("small", 0.2706), ("smoke", 0.1443)])
def test_tiles_are_those_of_the_published_images(shipped, budget, data_scale):
    """They shrink with the images, so that the number stays what was published."""
    stage = training(shipped, budget)
    stream = stage.streams["labelled"]
    assert stream.data.scale == data_scale
    assert stream.augmentation.class_uniform.tile == 1024
    decoder = decoder_of(stage)
    assert decoder.units == ("stage4", "aspp", "bottleneck", "decoder") and decoder.slots == 16
    assert decoder.channels < 256
    with torch.device("meta"):
        method = build_method(stage, num_classes=19)
    assert sum(parameter.numel() for parameter in method.parameters()) < 2_000_000
