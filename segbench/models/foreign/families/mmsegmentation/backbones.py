"""MMSegmentation's ResNet, HRNet and MobileNetV2 (``mmseg/models/backbones``) as segbench's."""

from typing import Any, NamedTuple

from pydantic import ValidationError

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice

from ...dilated_resnet import count, described, is_resnet, resnet_options
from ...family import State
from ...renaming import Pair

_HERE = "backbone."


class ReadBackbone(NamedTuple):
    """A backbone and what people call it."""

    choice: Choice
    label: str


def backbone_kind(state: State) -> str | None:
    """Registered name of the backbone that these tensors are of; None if it is none of the three."""
    if is_resnet(state, _HERE):
        return "resnet"
    if f"{_HERE}stage4.0.branches.3.0.conv1.weight" in state and f"{_HERE}transition1.0.0.weight" in state:
        return "hrnetv2"
    if f"{_HERE}conv1.conv.weight" in state and f"{_HERE}layer7.0.conv.0.conv.weight" in state:
        return "mobilenetv2"
    return None


def read_backbone(state: State) -> ReadBackbone:
    """The backbone with its sizes.

    Raises:
        KeyError: a tensor that decides what it is is missing.
        InvalidFault: segbench has no such backbone.
    """
    return {"resnet": _resnet, "hrnetv2": _hrnet, "mobilenetv2": _mobilenet}[backbone_kind(state) or ""](state)


def backbone_names(choice: Choice) -> list[Pair]:
    """Its modules, theirs and ours."""
    return {"resnet": _resnet_names, "hrnetv2": _hrnet_names, "mobilenetv2": _mobilenet_names}[choice.name](choice)


def _resnet(state: State) -> ReadBackbone:
    """Version 1c with a stem of three convolutions, or b with a single one; dilated to output stride 8."""
    found = resnet_options(state, _HERE)
    deep = f"{_HERE}stem.0.weight" in state
    stem = {"stem": "deep-narrow"} if deep else {}
    if deep and state[f"{_HERE}stem.0.weight"].shape[0] != round(32 * found.get("width", 1)):
        raise InvalidFault("Its ResNet has a stem that segbench does not know.", next="segbench list")
    options = {**found, **stem, "output_stride": 8}
    return ReadBackbone(Choice(name="resnet", options=options), f"{described(found)} {'v1c' if deep else 'v1b'}")


def _resnet_names(choice: Choice) -> list[Pair]:
    stages = [(f"{_HERE}layer{stage}",) * 2 for stage in (1, 2, 3, 4)]
    if choice.options.get("stem") != "deep-narrow":
        return [(f"{_HERE}conv1",) * 2, (f"{_HERE}bn1",) * 2, *stages]
    return [(f"{_HERE}stem", f"{_HERE}conv1"), (f"{_HERE}stem.7", f"{_HERE}bn1"), *stages]


def _hrnet(state: State) -> ReadBackbone:
    width = state[f"{_HERE}stage2.0.branches.0.0.conv1.weight"].shape[0]
    found: dict[str, Any] = {
        "width": width,
        "modules": tuple(count(state, f"{_HERE}stage{stage}.") for stage in (2, 3, 4)),
        "blocks_per_branch": count(state, f"{_HERE}stage2.0.branches.0."),
        "stem_channels": state[f"{_HERE}conv1.weight"].shape[0],
        "stage1_blocks": count(state, f"{_HERE}layer1."),
        "stage1_width": state[f"{_HERE}layer1.0.conv1.weight"].shape[0],
    }
    usual = {"modules": (1, 4, 3), "blocks_per_branch": 4, "stem_channels": 64, "stage1_blocks": 4, "stage1_width": 64}
    options = {key: value for key, value in found.items() if usual.get(key) != value}
    label = f"HRNetV2-W{width}" + ("" if options.keys() == {"width"} else "-small")
    return ReadBackbone(Choice(name="hrnetv2", options=options), label)


def _hrnet_names(choice: Choice) -> list[Pair]:
    names = ("conv1", "bn1", "conv2", "bn2", "layer1", "transition1", "transition2", "transition3")
    return [(f"{_HERE}{name}",) * 2 for name in (*names, "stage2", "stage3", "stage4")]


# Blocks of the seven stages of MobileNetV2 (Sandler et al. 2018, table 2).
_STAGES = (1, 2, 3, 4, 3, 3, 1)


def _mobilenet(state: State) -> ReadBackbone:
    """Dilated to output stride 8, but in MMSegmentation's way: the first block of a stage alone looks farther."""
    options = {"output_stride": 8, "dilation": "first"}
    try:
        registry.options_of("backbone", "mobilenetv2").model_validate(options)
    except ValidationError as error:
        raise InvalidFault(
            "Its MobileNetV2 dilates the first block of a stage alone; segbench's dilates all, or halves the first: "
            "with these weights it would answer otherwise.",
            next="segbench weights list",
        ) from error
    return ReadBackbone(Choice(name="mobilenetv2", options=options), "MobileNetV2")


def _mobilenet_names(choice: Choice) -> list[Pair]:
    found = [(f"{_HERE}conv1.conv", f"{_HERE}conv_stem"), (f"{_HERE}conv1.bn", f"{_HERE}bn1")]
    for stage, blocks in enumerate(_STAGES):
        # the only block of the first stage has no convolution that widens
        steps = ("conv_pw", "conv_dw", "conv_pwl") if stage else ("conv_dw", "conv_pw")
        for block in range(blocks):
            ours = f"{_HERE}blocks.{stage}.{block}"
            for number, step in enumerate(steps):
                theirs = f"{_HERE}layer{stage + 1}.{block}.conv.{number}"
                found += [(f"{theirs}.conv", f"{ours}.{step}"), (f"{theirs}.bn", f"{ours}.bn{number + 1}")]
    return found
