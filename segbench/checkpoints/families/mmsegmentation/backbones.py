"""MMSegmentation's ResNet, HRNet and MobileNetV2 (``mmseg/models/backbones``) as segbench's."""

from typing import NamedTuple

from segbench.checkpoints.family import StateDict
from segbench.checkpoints.layouts.hrnet import hrnet_backbone, hrnet_label, hrnet_pairs, is_hrnet
from segbench.checkpoints.layouts.renaming import Pair
from segbench.checkpoints.layouts.resnet import is_resnet, resnet_label, resnet_options
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice

_HERE = "backbone."
_STAGES = tuple((f"{_HERE}layer{stage}",) * 2 for stage in (1, 2, 3, 4))


class ReadBackbone(NamedTuple):
    """A backbone and its name in words."""

    choice: Choice
    label: str


def is_supported(state: StateDict) -> bool:
    """Return True for a network on ResNet, HRNet or MobileNetV2."""
    return is_resnet(state, _HERE) or is_hrnet(state, _HERE) or _is_mobilenet(state)


def read_backbone(state: StateDict) -> ReadBackbone:
    """Read the backbone with its sizes.

    Raises:
        KeyError: a tensor that identifies it is missing.
        InvalidFault: segbench has no such backbone.
    """
    if is_hrnet(state, _HERE):
        choice = hrnet_backbone(state, _HERE)
        return ReadBackbone(
            choice.model_copy(update={"options": {**choice.options, "fuse_resize": "by_factor"}}), hrnet_label(choice)
        )
    if _is_mobilenet(state):
        # Only the first block of a stage is dilated, which is MMSegmentation's way.
        options = {"output_stride": 8, "dilation": "first"}
        return ReadBackbone(Choice(name="mobilenetv2", options=options), "MobileNetV2")
    return _resnet(state)


def backbone_names(choice: Choice) -> tuple[Pair, ...]:
    """Return the names of its modules, theirs and ours."""
    if choice.name == "hrnetv2":
        return hrnet_pairs(_HERE)
    if choice.name == "mobilenetv2":
        return _mobilenet_names()
    if choice.options.get("stem") == "deep-narrow":
        return (f"{_HERE}stem", f"{_HERE}conv1"), (f"{_HERE}stem.7", f"{_HERE}bn1"), *_STAGES
    return (f"{_HERE}conv1",) * 2, (f"{_HERE}bn1",) * 2, *_STAGES


def _resnet(state: StateDict) -> ReadBackbone:
    """Read version 1c with a stem of three convolutions, or 1b with a single one; dilated to output stride 8."""
    found = resnet_options(state, _HERE)
    deep = f"{_HERE}stem.0.weight" in state
    if deep and state[f"{_HERE}stem.0.weight"].shape[0] != round(32 * found.get("width", 1)):
        raise InvalidFault("Its ResNet has a wider stem than version 1c.", next="segbench list")
    options = {**found, **({"stem": "deep-narrow"} if deep else {}), "output_stride": 8}
    return ReadBackbone(Choice(name="resnet", options=options), f"{resnet_label(found)} v1{'c' if deep else 'b'}")


def _is_mobilenet(state: StateDict) -> bool:
    return f"{_HERE}conv1.conv.weight" in state and f"{_HERE}layer7.0.conv.0.conv.weight" in state


# Blocks of the seven stages of MobileNetV2 (Sandler et al. 2018, table 2).
_BLOCKS = (1, 2, 3, 4, 3, 3, 1)


def _mobilenet_names() -> tuple[Pair, ...]:
    found = [(f"{_HERE}conv1.conv", f"{_HERE}conv_stem"), (f"{_HERE}conv1.bn", f"{_HERE}bn1")]
    for stage, blocks in enumerate(_BLOCKS):
        # The only block of the first stage has no expansion.
        steps = ("conv_pw", "conv_dw", "conv_pwl") if stage else ("conv_dw", "conv_pw")
        for block in range(blocks):
            ours = f"{_HERE}blocks.{stage}.{block}"
            for number, step in enumerate(steps):
                theirs = f"{_HERE}layer{stage + 1}.{block}.conv.{number}"
                found += [(f"{theirs}.conv", f"{ours}.{step}"), (f"{theirs}.bn", f"{ours}.bn{number + 1}")]
    return tuple(found)
