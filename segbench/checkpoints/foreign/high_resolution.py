"""Which HRNetV2 some tensors are of. The official code, MMSegmentation, openseg and timm name its layers alike."""

from typing import Any

from segbench.core.spec import Choice
from segbench.models.backbones.hrnetv2.options import Options

from .dilated_resnet import count
from .family import State
from .renaming import Pair

_STAGES = (2, 3, 4)
_PARTS = (
    "conv1",
    "bn1",
    "conv2",
    "bn2",
    "layer1",
    *(f"transition{k}" for k in (1, 2, 3)),
    *(f"stage{k}" for k in _STAGES),
)


def is_hrnet(state: State, prefix: str) -> bool:
    """Whether there is the last stage of an HRNet under ``prefix``, e.g. ``backbone.``."""
    return f"{prefix}stage4.0.branches.3.0.conv1.weight" in state


def hrnet_choice(state: State, prefix: str) -> Choice:
    """The backbone ``hrnetv2``, with the options that differ from its defaults.

    Raises:
        KeyError: a stage is missing.
    """
    found: dict[str, Any] = {
        "width": state[f"{prefix}stage4.0.branches.0.0.conv1.weight"].shape[0],
        "modules": tuple(count(state, f"{prefix}stage{stage}.") for stage in _STAGES),
        "blocks_per_branch": count(state, f"{prefix}stage4.0.branches.0."),
        "stem_channels": state[f"{prefix}conv1.weight"].shape[0],
        "stage1_blocks": count(state, f"{prefix}layer1."),
        "stage1_width": state[f"{prefix}layer1.0.conv1.weight"].shape[0],
    }
    usual = Options().model_dump()
    return Choice(name="hrnetv2", options={key: value for key, value in found.items() if usual[key] != value})


def hrnet_label(choice: Choice) -> str:
    """``HRNetV2-W48``."""
    return Options.model_validate(choice.options).label()


def hrnet_pairs(prefix: str) -> tuple[Pair, ...]:
    """Modules under ``prefix``, and the same ones here."""
    return tuple((f"{prefix}{part}", f"backbone.{part}") for part in _PARTS)
