"""Whole networks as several codes have them: parameters and multiply-adds as measured on those codes.

Multiply-adds are of convolutions and matrix products at one size, 19 classes, in evaluation; where a code computes its
auxiliary classifier in evaluation too, the figure says how many those are, as ours does not.
"""

from typing import Any, NamedTuple

import pytest
import torch

from segbench.core.spec import ModelSpec
from segbench.metrics.cost import count_cost
from segbench.models.segmentor import build_segmentor

HALF = (512, 1024)
TORCHVISION = {"name": "resnet", "stem": "conv7x7", "output_stride": 8}
OPENSEG = {"name": "resnet", "stem": "deep", "output_stride": 8, "ceil_mode": True}
SEMSEG = {"name": "resnet", "stem": "deep", "output_stride": 8, "dilation": "full"}
V1C = {"name": "resnet", "stem": "deep-narrow", "output_stride": 8}
SEMISEG = {"name": "resnet", "dilation": "full"}
HRNET = {"name": "hrnetv2"}
XCEPTION = {"name": "xception71"}

CONTRASTIVESEG = {"channels": 512, "project_kernel": 3, "refine": "conv3x3", "init": "kaiming"}
AUXILIARY = {"auxiliary": True, "aux_bias": True}
MM_V3 = {"channels": 512, "project_kernel": 3, "pooling_first": True, "dropout": 0.1, "auxiliary": True}
MM_V3PLUS = {**MM_V3, "rates": (12, 24, 36), "separable": True, "dropout": (0.0, 0.1), "dropout_of": "channels"}
TV_V3 = {"dropout": 0.5, "dropout_of": "elements", "refine": "conv3x3_relu"}
TF_V3PLUS = {"separable": True, "dropout": (0.1, 0.0), "init": "normal_classifier"}
NO_BIAS = {"conv_bias": False, "attention_bias": False}


class Published(NamedTuple):
    backbone: dict[str, Any]
    decoder: dict[str, Any]
    millions: str
    giga: str | None = None
    size: tuple[int, int] = HALF
    aux_giga: float = 0.0
    classes: int = 19


NETWORKS = {
    # 3x3 of 1024 to 256 channels and 1x1 to the classes, on 65x129 pixels
    "contrastiveseg-deeplabv3-r101": Published(
        OPENSEG, {"name": "deeplabv3", **CONTRASTIVESEG, **AUXILIARY}, "89.570", "761.7",
        aux_giga=(1024 * 9 + 19) * 256 * 65 * 129 / 1e9,
    ),
    "contrastiveseg-deeplabv3-mobilenetv1": Published(
        {"name": "mobilenetv1"}, {"name": "deeplabv3", **CONTRASTIVESEG}, "32.58"
    ),
    "contrastiveseg-deeplabv3-mobilenetv2": Published(
        {"name": "mobilenetv2", "last_conv": True}, {"name": "deeplabv3", **CONTRASTIVESEG}, "35.40"
    ),
    "contrastiveseg-deeplabv3-mobilenetv3": Published(
        {"name": "mobilenetv3-large"}, {"name": "deeplabv3", **CONTRASTIVESEG}, "31.40"
    ),
    "mmsegmentation-deeplabv3-r101": Published(V1C, {"name": "deeplabv3", **MM_V3}, "87.105", "694.2"),
    "mmsegmentation-deeplabv3-r50": Published({**V1C, "depth": 50}, {"name": "deeplabv3", **MM_V3}, "68.113"),
    "torchvision-deeplabv3-r101": Published(TORCHVISION, {"name": "deeplabv3", **TV_V3}, "58.630", "482.3"),
    "torchvision-deeplabv3-r50": Published(
        {**TORCHVISION, "depth": 50}, {"name": "deeplabv3", **TV_V3}, "39.638"
    ),
    "torchvision-deeplabv3-r101-coco": Published(
        TORCHVISION, {"name": "deeplabv3", **TV_V3, "auxiliary": True}, "60.996202", classes=21
    ),
    "semiseg-deeplabv2": Published({**SEMISEG, "output_stride": 8}, {"name": "deeplabv2"}, "43.90", "360.2"),
    "semiseg-deeplabv2-3": Published({**SEMISEG, "output_stride": 8}, {"name": "deeplabv2"}, "42.72", classes=3),
    "semiseg-deeplabv3plus": Published(
        {**SEMISEG, "depth": 50, "output_stride": 16}, {"name": "deeplabv3plus"}, "40.35", "69.2", (512, 512)
    ),
    "mmsegmentation-deeplabv3plus-r50": Published(
        {**V1C, "depth": 50}, {"name": "deeplabv3plus", **MM_V3PLUS}, "43.59", "352.3"
    ),
    "mmsegmentation-deeplabv3plus-r101": Published(V1C, {"name": "deeplabv3plus", **MM_V3PLUS}, "62.58", "507.5"),
    "deeplabv3plus-xception71-pooling": Published(XCEPTION, {"name": "deeplabv3plus", **TF_V3PLUS}, "43.48"),
    "deeplabv3plus-xception71": Published(
        XCEPTION, {"name": "deeplabv3plus", **TF_V3PLUS, "image_pooling": False}, "42.89", "512", (1025, 2049)
    ),
    "semseg-pspnet": Published(SEMSEG, {"name": "pspnet", "auxiliary": True}, "68.07", "517.2", (713, 713)),
    "semseg-pspnet-main": Published(SEMSEG, {"name": "pspnet"}, "65.71"),
    "mmsegmentation-pspnet": Published(V1C, {"name": "pspnet", "auxiliary": True}, "67.97", "2046.8", (1024, 2048)),
    "aaf-pspnet": Published({**TORCHVISION, "dilation": "full"}, {"name": "pspnet", "dropout": 0.0}, "65.58"),
    "contrastiveseg-ocr-hrnet": Published(HRNET, {"name": "ocr"}, "74.522", "460.4"),
    "official-ocr-hrnet": Published(
        HRNET, {"name": "ocr", "aux_head": "conv1x1", "attention_bias": False}, "70.373", "324.5"
    ),
    "mmsegmentation-ocr-hrnet": Published(HRNET, {"name": "ocr", "aux_head": "conv1x1", **NO_BIAS}, "70.371"),
    "contrastiveseg-ocr-r101": Published(
        OPENSEG, {"name": "ocr", "aux_features": "stage3", "aux_channels": 512}, "57.989", "503.1"
    ),
    "mmsegmentation-ocr-r101": Published(
        V1C, {"name": "ocr", "aux_features": "stage3", "aux_channels": 256, **NO_BIAS}, "55.516", "460.9"
    ),
}  # fmt: skip


def rounded(value: float, printed: str) -> str:
    return f"{value:.{len(printed.partition('.')[2])}f}"


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_multiply_adds(name: str) -> None:
    wanted = NETWORKS[name]
    spec = ModelSpec.model_validate({"backbone": wanted.backbone, "decoder": wanted.decoder, "align_corners": True})
    with torch.device("meta"):
        network = build_segmentor(spec, num_classes=wanted.classes)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert rounded(parameters / 1e6, wanted.millions) == wanted.millions
    if wanted.giga is not None:
        giga = count_cost(network, wanted.size).flops / 2e9 + wanted.aux_giga
        assert rounded(giga, wanted.giga) == wanted.giga


def test_a_teacher_of_cfn_has_pspnets_head_on_an_undilated_resnet() -> None:
    """48.64 million with the ResNet's own classifier of 1000 classes, which is unused there."""
    teacher = {"backbone": {"name": "resnet", "depth": 50}, "decoder": {"name": "pspnet", "bins": [2, 3, 4, 6]}}
    with torch.device("meta"):
        network = build_segmentor(ModelSpec.model_validate(teacher), num_classes=20)
        output = network(torch.empty(1, 3, 512, 512))
    unused = 2048 * 1000 + 1000
    assert rounded((sum(p.numel() for p in network.parameters()) + unused) / 1e6, "48.64") == "48.64"
    assert output.embedding.shape == (1, 512, 16, 16)
