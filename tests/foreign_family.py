"""A project that never was: the layout of its checkpoints, for tests of what all projects share."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from segbench.checkpoints import families
from segbench.checkpoints.family import Family, ForeignCheckpoint, StateDict
from segbench.core.spec import InputSpec
from segbench.data.classes import class_table
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.networks import TINY

PREFIX = "moonnet."
INPUT = InputSpec(channels="bgr")
MODEL = TINY.model_copy(update={"align_corners": True, "input": INPUT})
TITLE = "moon project's HRNet"


def detect(state: StateDict) -> bool:
    return any(name.startswith(PREFIX) for name in state)


def read(state: StateDict) -> ForeignCheckpoint:
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
    return ForeignCheckpoint(
        "moon",
        TITLE,
        MODEL,
        len(state[PREFIX + "decoder.classifier.weight"]),
        tensors,
        tuple(name for name in state if not name.startswith(PREFIX)),
        ("Its orbits are not modelled.",),
        {"mode": "slide", "window": (32, 32), "stride": (24, 24)},
    )


MOON = Family(name="moon", title="moon", detect=detect, read=read, state_keys=("model",))


@pytest.fixture
def moon(monkeypatch: pytest.MonkeyPatch) -> Family:
    """The family, while it is registered; it is the only one."""
    monkeypatch.setattr(families, "registered", lambda: {"moon": MOON})
    return MOON


def network(num_classes: int = 11) -> Segmentor:
    """A network that predicts many classes: without the bias of its last layer, no class wins everywhere."""
    torch.manual_seed(1)
    made = build_segmentor(MODEL, num_classes=num_classes).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("bias") and parameter.shape == (num_classes,):
            torch.nn.init.zeros_(parameter)
    return made


def state_of(made: Segmentor, *, prefix: str = "") -> dict[str, Tensor]:
    """Its tensors under the project's names, with those of a projection head."""
    state = {f"{prefix}{PREFIX}{name}": tensor for name, tensor in made.state_dict().items()}
    return {**state, f"{prefix}proj_head.weight": torch.zeros(2), f"{prefix}proj_head.bias": torch.zeros(2)}


def write_moon(path: Path, *, dataset: str = "camvid", **more: Any) -> Path:
    """A checkpoint of the project, with whatever else shall lie in it."""
    torch.save({"state_dict": state_of(network(class_table(dataset).num_classes)), **more}, path)
    return path
