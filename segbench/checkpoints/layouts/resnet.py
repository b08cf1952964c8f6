"""ResNet by its tensors. torchvision, MMSegmentation and timm name everything after the stem alike."""

from typing import Any

from segbench.core.errors import InvalidFault

from ..family import StateDict

_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101}


def is_resnet(state: StateDict, prefix: str) -> bool:
    """Return True if the stages of a ResNet are under ``prefix``, e.g. ``backbone.``."""
    return f"{prefix}layer1.0.conv1.weight" in state and f"{prefix}layer4.0.conv1.weight" in state


def resnet_options(state: StateDict, prefix: str) -> dict[str, Any]:
    """Return depth and width as options of the backbone ``resnet``.

    Raises:
        KeyError: a stage is missing.
        InvalidFault: it has the basic blocks of ResNet-18 and 34.
    """
    if f"{prefix}layer1.0.conv3.weight" not in state:
        raise InvalidFault(
            "Its ResNet has basic blocks, as ResNet-18 and 34; segbench has bottleneck blocks.",
            next="segbench list",
        )
    blocks = tuple(count_modules(state, f"{prefix}layer{stage}.") for stage in (1, 2, 3, 4))
    width = state[f"{prefix}layer1.0.conv1.weight"].shape[0] / 64
    depth = {"depth": _DEPTHS[blocks]} if blocks in _DEPTHS else {"blocks": blocks}
    return {**depth, **({} if width == 1 else {"width": width})}


def count_modules(state: StateDict, prefix: str) -> int:
    """Count the numbered modules under ``prefix``.

    Raises:
        KeyError: there are none.
    """
    found = {name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)}
    if not found:
        raise KeyError(f"{prefix}0")
    return len(found)


def resnet_label(options: dict[str, Any]) -> str:
    """Return e.g. ``ResNet-101`` for the options of `resnet_options`."""
    blocks = options.get("blocks")
    return f"ResNet-{options['depth'] if blocks is None else 3 * sum(blocks) + 2}"
