"""Networks for tests that are about everything else."""

from pathlib import Path

import torch

from segbench.checkpoints.weights_file import WeightsHeader, save_weights
from segbench.core.spec import Choice, ModelSpec
from segbench.data.classes import class_table
from segbench.models.segmentor import build_segmentor

TINY = ModelSpec(
    backbone=Choice(
        name="hrnetv2",
        options={
            "width": 8, "modules": [1, 1, 1], "blocks_per_branch": 1, "stage1_blocks": 1, "stage1_width": 16,
            "stem_channels": 16,
        },
    ),
    decoder=Choice(name="concat", options={"head": "conv1x1"}),
)  # fmt: skip


def write_weights(path: Path, classes: tuple[str, ...], dataset: str) -> Path:
    """A weights file of a random network."""
    torch.manual_seed(0)
    save_weights(path, build_segmentor(TINY, num_classes=len(classes)), WeightsHeader(TINY, classes, dataset))
    return path


def varied_weights(path: Path, dataset: str) -> Path:
    """A network that predicts many classes: without the bias of its last layer, no class wins everywhere."""
    torch.manual_seed(1)
    names = class_table(dataset).names
    network = build_segmentor(TINY, num_classes=len(names))
    for name, parameter in network.named_parameters():
        if name.endswith("bias") and parameter.shape == (len(names),):
            torch.nn.init.zeros_(parameter)
    save_weights(path, network, WeightsHeader(TINY, names, dataset))
    return path
