"""Which ResNet some tensors are of. torchvision, MMSegmentation and timm name what follows the stem alike."""

from typing import Any

from segbench.core.errors import InvalidFault

from .family import State

_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101}


def is_resnet(state: State, prefix: str) -> bool:
    """Whether there are the stages of a ResNet under ``prefix``, e.g. ``backbone.``."""
    return f"{prefix}layer1.0.conv1.weight" in state and f"{prefix}layer4.0.conv1.weight" in state


def resnet_options(state: State, prefix: str) -> dict[str, Any]:
    """Depth and width as options of the backbone ``resnet``.

    Raises:
        KeyError: a stage is missing.
        InvalidFault: its blocks are those of ResNet-18 and 34.
    """
    if f"{prefix}layer1.0.conv3.weight" not in state:
        raise InvalidFault(
            "Its ResNet has blocks of two convolutions, as ResNet-18 and 34; segbench has those of three.",
            next="segbench list",
        )
    blocks = tuple(count(state, f"{prefix}layer{stage}.") for stage in (1, 2, 3, 4))
    width = state[f"{prefix}layer1.0.conv1.weight"].shape[0] / 64
    depth = {"depth": _DEPTHS[blocks]} if blocks in _DEPTHS else {"blocks": blocks}
    return {**depth, **({} if width == 1 else {"width": width})}


def count(state: State, prefix: str) -> int:
    """How many numbered modules lie under ``prefix``.

    Raises:
        KeyError: none.
    """
    found = {name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)}
    if not found:
        raise KeyError(f"{prefix}0")
    return len(found)


def described(options: dict[str, Any]) -> str:
    """``ResNet-101``, from `resnet_options`."""
    blocks = options.get("blocks")
    return f"ResNet-{options['depth'] if blocks is None else 3 * sum(blocks) + 2}"
