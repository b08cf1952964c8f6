"""What rows of ContrastiveSeg's table 1 that are quoted from other papers take from the code of these papers."""

from typing import Any

import pytest
import torch
from torch import nn

from segbench.core.spec import StageSpec
from segbench.engine.optim import build_optimizer
from segbench.methods.build import build_method
from segbench.models.segmentor import Segmentor, build_segmentor
from segbench.models.weights import published_weights
from segbench.recipe.catalog import Catalog
from segbench.recipe.protocol import pick
from segbench.recipe.resolve import Request, Resolved, resolve

TABLE = "contrastiveseg-table1"


def resolved(shipped: Catalog, row: str, budget: str = "full", **readings: str) -> Resolved:
    asked = tuple((name.replace("_", "-"), option) for name, option in readings.items())
    return resolve(shipped, TABLE, row, "cityscapes", Request(budget, readings=asked))


def stage_of(found: Resolved) -> StageSpec:
    assert found.ran.training is not None
    (stage,) = found.ran.training.stages
    return stage


def network_of(stage: StageSpec) -> Segmentor:
    with torch.device("meta"):
        return build_segmentor(stage.model, num_classes=19)


def norms(network: nn.Module) -> set[tuple[float | None, float]]:
    """Momentum and epsilon of every batch norm."""
    return {(m.momentum, m.eps) for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}


@pytest.mark.parametrize("row", ["aaf", "segsort"])
def test_norms_of_aafs_code(shipped: Catalog, row: str) -> None:
    """It keeps 0.9997 of the statistics of its backbone and 0.99 of its head, and all norms have epsilon 0.001."""
    network = network_of(stage_of(resolved(shipped, row)))
    ((momentum, eps),) = norms(network.backbone)
    assert (momentum, eps) == (pytest.approx(1 - 0.9997), 0.001)
    assert norms(network.decoder) == {(0.01, 0.001)}
    for budget in ("small", "smoke"):  # so few steps would keep the first statistics
        assert norms(network_of(stage_of(resolved(shipped, row, budget)))) == {(0.1, 0.001)}


@pytest.mark.parametrize("row", ["aaf", "segsort"])
def test_their_norms_ask_for_no_other_weights(shipped: Catalog, row: str) -> None:
    backbone = stage_of(resolved(shipped, row)).model.backbone
    assert published_weights(backbone, weights="imagenet").name == "timm/resnet101.tv_in1k"


@pytest.mark.parametrize("row", ["aaf", "segsort"])
def test_corners_and_padding_of_aafs_code(shipped: Catalog, row: str) -> None:
    """It resizes by TensorFlow 1's default, which aligns no corners, and pads to a box with offsets 0 and 0."""
    found = resolved(shipped, row)
    assert stage_of(found).model.align_corners is False
    assert stage_of(found).streams["labelled"].augmentation.padding == "end"
    origin: Any = pick(found.tree, "augmentation.padding").origin
    assert origin.confidence == "high" and "image_reader.py" in origin.source
    assert "TensorFlow 1" in pick(found.tree, "model.align_corners").origin.source


def test_what_decays_in_xception(shipped: Catalog) -> None:
    """The kernels that mix channels do: they are named here by their shapes and places, as the network has them."""
    with torch.device("meta"):
        method = build_method(stage_of(resolved(shipped, "deeplabv3plus-xception71")), num_classes=19)
    optimizer = build_optimizer(
        stage_of(resolved(shipped, "deeplabv3plus-xception71")).schedule.optimizer, method, fused=False
    )
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    decays = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    shapes = {name: tuple(parameter.shape) for name, parameter in method.named_parameters()}
    assert {decays[name] for name, shape in shapes.items() if len(shape) == 1} == {0.0}  # of norms, and a bias
    depthwise = {name for name, shape in shapes.items() if shape[1:] == (1, 3, 3)}
    # Three in each of 5 + 16 + 2 blocks, three in the pyramid, two in the decoder.
    assert len(depthwise) == 3 * 23 + 3 + 2
    assert all("conv_dw" in name or ".depthwise." in name for name in depthwise)
    assert {decays[name] for name in depthwise} == {0.0}
    others = {name for name, shape in shapes.items() if len(shape) == 4} - depthwise
    assert {decays[name] for name in others} == {4e-5} and len(others) > 3 * 23


@pytest.mark.parametrize("row", ["aaf", "segsort", "pspnet-r101"])
def test_rates_of_budgets(shipped: Catalog, row: str) -> None:
    """Ten times the rate for the head, as published with SGD; one rate where AdamW takes its place."""
    for budget, rates in (("full", {1.0, 10.0}), ("small", {1.0}), ("smoke", {1.0})):
        stage = stage_of(resolved(shipped, row, budget))
        with torch.device("meta"):
            method = build_method(stage, num_classes=19)
        base = stage.schedule.optimizer.lr
        optimizer = build_optimizer(stage.schedule.optimizer, method, fused=False)
        assert {round(group["lr"] / base, 6) for group in optimizer.param_groups} == rates, budget
