"""HRNetV2 by its tensors. The official code, MMSegmentation, openseg and timm name its layers alike."""

from typing import Any

from segbench.core.spec import Choice
from segbench.models.backbones.hrnetv2.options import Options

from ..family import StateDict
from .renaming import Pair
from .resnet import count_modules

_STAGES = (2, 3, 4)
_MODULES = (
    "conv1",
    "bn1",
    "conv2",
    "bn2",
    "layer1",
    *(f"transition{k}" for k in (1, 2, 3)),
    *(f"stage{k}" for k in _STAGES),
)


def is_hrnet(state: StateDict, prefix: str) -> bool:
    """Return True if the last stage of an HRNet is under ``prefix``, e.g. ``backbone.``."""
    return f"{prefix}stage4.0.branches.3.0.conv1.weight" in state


def hrnet_backbone(state: StateDict, prefix: str) -> Choice:
    """Return the backbone ``hrnetv2`` with the options that differ from its defaults.

    Raises:
        KeyError: a stage is missing.
    """
    found: dict[str, Any] = {
        "width": state[f"{prefix}stage4.0.branches.0.0.conv1.weight"].shape[0],
        "modules": tuple(count_modules(state, f"{prefix}stage{stage}.") for stage in _STAGES),
        "blocks_per_branch": count_modules(state, f"{prefix}stage4.0.branches.0."),
        "stem_channels": state[f"{prefix}conv1.weight"].shape[0],
        "stage1_blocks": count_modules(state, f"{prefix}layer1."),
        "stage1_width": state[f"{prefix}layer1.0.conv1.weight"].shape[0],
    }
    usual = Options().model_dump()
    return Choice(name="hrnetv2", options={key: value for key, value in found.items() if usual[key] != value})


def hrnet_label(choice: Choice) -> str:
    """Return e.g. ``HRNetV2-W48``."""
    return Options.model_validate(choice.options).label()


def hrnet_pairs(prefix: str) -> tuple[Pair, ...]:
    """Return the names of its modules, theirs under ``prefix`` and ours."""
    return tuple((f"{prefix}{module}", f"backbone.{module}") for module in _MODULES)
