"""Conventions of cost by hand, and against the operations that torchvision prints for its own networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import get_model_weights, segmentation

from segbench.metrics.conventions import CONVENTIONS, count_conventions, matching
from tests.program import segbench


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, groups=1)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.group = nn.GroupNorm(2, 8)
        self.linear = nn.Linear(8, 5)
        self.layer = nn.LayerNorm(5)
        self.softmax = nn.Softmax(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x)).relu()  # (1, 8, 6, 4)
        x = F.interpolate(x, scale_factor=2, mode="bilinear")  # (1, 8, 12, 8)
        x = self.group(self.pool(x))  # (1, 8, 2, 2)
        rows = self.layer(self.linear(x.flatten(2).transpose(1, 2)))  # (1, 4, 5)
        return self.softmax(rows @ rows.transpose(1, 2))  # (1, 4, 4)


def test_by_hand():
    products = 24 * 8 * 27 + 4 * 8 * 5  # convolution and linear layer
    of_matrices = 4 * 4 * 5
    counts = count_conventions(Small(), (6, 4))
    assert counts["products"] == products + of_matrices
    assert counts["flops"] == 2 * (products + of_matrices)
    # normalisation 2 (batch) and 5 (group, layer) an element, enlargement 4 an element made, pooling 1 an element read
    beside = 2 * 8 * 24 + 5 * 8 * 4 + 5 * 20 + 4 * 8 * 96 + 8 * 96
    assert counts["fvcore"] == products + of_matrices + beside
    # modules alone: no product of tensors, no group norm; windows of 6 x 4 and a division; soft-max of 4 rows of 4
    modules = 4 * 8 * 24 + 4 * 20 + (24 + 1) * 8 * 4 + 4 * (3 * 4 - 1)
    assert counts["thop"] == products + modules
    # ptflops: layers with biases; pooling as module and as function, soft-max and enlargement; 2 an element of a norm
    # with the attribute affine, 1 of the layer norm; not the method relu and the operator @
    biases, pooled = 8 * 24 + 4 * 5, 2 * 8 * 96
    assert counts["ptflops"] == products + biases + 2 * 8 * 24 + pooled + 2 * 8 * 4 + 20 + 4 * 4 + 8 * 96
    # its other backend sees the bias of the convolution alone: that of rows that are not contiguous is added apart
    assert counts["ptflops-aten"] == products + of_matrices + 8 * 24
    assert counts.keys() == CONVENTIONS.keys()


PRINTED = [
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
]


@pytest.mark.parametrize("name", PRINTED)
def test_what_torchvision_prints(name):
    """Twelve published figures: operations at 520 x 520, the auxiliary head included, and parameters."""
    printed = next(iter(get_model_weights(name))).meta
    aux = {} if name.startswith("lraspp") else {"aux_loss": True}
    with torch.device("meta"):
        network = getattr(segmentation, name)(weights=None, weights_backbone=None, **aux)
    counts = count_conventions(network, (520, 520))
    assert {"products"} <= {*matching(f"{printed['_ops']:.3f}", counts)} <= {"products", "ptflops-aten"}
    assert sum(parameter.numel() for parameter in network.parameters()) == printed["num_params"]


def test_matching_by_the_printed_digits():
    counts = {"one": 1_300_134_000_000, "two": 1_300_126_000_000}
    assert matching("1300.13", counts) == ["one", "two"]
    assert matching("1300.134", counts) == ["one"] and matching("1300", counts) == ["one", "two"]
    assert matching("70.39", {"": 70_389_184}, unit=1e6) == [""]


def test_the_figures_of_the_supplements():
    """All that Contextrast's Table 7 counts has an exact answer without training."""
    for row, answers in {
        "baseline": {"70.01 params_m": "parameters, deployed", "1295.86 flops_g": "thop, deployed, at 1024x2048"},
        "contextrast": {"70.39 params_m": "parameters, trained", "1300.13 flops_g": "thop, trained, at 1024x2048"},
    }.items():
        found = segbench("cost", f"contextrast-table7/{row}", "--size", "1024x2048", "--json").json
        assert found["printed"] == {printed: [answer] for printed, answer in answers.items()}


def test_the_command():
    done = segbench("cost", "contextrast-table6/layers-4", "--dataset", "camvid", "--size", "64x96", "--printed", "1.5")
    assert done.code == 0 and "deployed 64x96" in done.out and "printed 1.5: no convention and size here" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("contextrast-table7/contextrast", "--size", "5"), "--size 5: height and width in pixels"),
        (("contextrast-table7/contextrast", "--printed", "many"), "--printed many: a number as printed"),
        (("contextrast-table7/contextrats",), "No row 'contextrats'"),
        (("contextrast-tabel7/contextrast",), "Close: contextrast-table7"),
    ],
)
def test_slips(words, said):
    assert said in segbench("cost", *words).fails(2)


def test_no_such_file(tmp_path):
    assert "There is no file" in segbench("cost", tmp_path / "none.safetensors").err
