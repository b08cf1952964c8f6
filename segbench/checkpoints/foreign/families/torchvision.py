"""torchvision's DeepLabV3 on ResNet and MobileNetV3-Large (torchvision 0.29, ``models/segmentation``).

The head is numbered layers: ``classifier.0.convs`` the pyramid, whose last branch is the pooling one,
``classifier.0.project``, then the 3x3 convolution and the classifier. Backbones keep their own names, and a ResNet's
are timm's; MobileNetV3 numbers its layers where timm names them, in the same order.
"""

from typing import Any

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec

from ..dilated_resnet import described, is_resnet, resnet_options
from ..equality import check_same_network
from ..family import Foreign, State
from ..renaming import Names, Pair

TITLE = "torchvision"

_VOC_CLASSES = 21
_HEAD = "classifier.0.convs.0.0.weight"
_AUX = "aux_classifier."
_BACKBONES = ("resnet", "mobilenetv3-large")
_VOC_NOTE = "The published ones were trained on COCO with the classes of VOC 2012, and scored at a short side of 520."
_AUX_NOTE = (
    "Its auxiliary classifier reads the fourth block of MobileNetV3, within a stage: segbench's network gives the ends "
    "of stages alone, and leaves it out."
)

# The blocks of MobileNetV3-Large (Howard et al. 2019, table 1): how many timm puts in a stage, and which of the layers
# as torchvision counts them have squeeze and excitation.
_STAGES = (1, 2, 3, 4, 2, 3)
_SQUEEZED = {4, 5, 6, 11, 12, 13, 14, 15}


def detect(state: State) -> bool:
    """Whether this is a network of ``torchvision.models.segmentation``."""
    if _HEAD in state or "classifier.cbr.0.weight" in state:
        return any(name.startswith("backbone.") for name in state)
    return "classifier.4.weight" in state and is_resnet(state, "backbone.")


def read(state: State) -> Foreign:
    """DeepLabV3 with or without its auxiliary classifier; that of MobileNetV3 has no place and is left out.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
        InvalidFault: it is another network of torchvision's.
    """
    if _HEAD not in state:
        what = "LR-ASPP" if "classifier.cbr.0.weight" in state else "FCN"
        raise InvalidFault(f"It is torchvision's {what}; of its networks segbench has DeepLabV3.", next="segbench list")
    backbone, label = _backbone(state)
    dropped = tuple(name for name in state if name.startswith(_AUX) and backbone.name != "resnet")
    kept = {name: tensor for name, tensor in state.items() if name not in dropped}
    num_classes = state["classifier.4.weight"].shape[0]
    voc = num_classes == _VOC_CLASSES
    return Foreign(
        family="torchvision",
        title=f"{TITLE} DeepLabV3, {label}",
        model=ModelSpec(backbone=backbone, decoder=Choice(name="deeplabv3", options=_head_options(kept))),
        num_classes=num_classes,
        tensors=_names(backbone).ours(kept),
        dropped=dropped,
        notes=(*([_VOC_NOTE] if voc else ()), *([_AUX_NOTE] if dropped else ())),
        protocol={"mode": "whole", **({"short_side": 520} if voc else {})},
    )


def write(state: State, model: ModelSpec) -> dict[str, Tensor]:
    """The way back, from segbench's names to those that torchvision loads.

    Args:
        state: tensors of a `Segmentor`.
        model: the network that they belong to.

    Raises:
        InvalidFault: torchvision does not have this network.
    """
    if model.decoder.name != "deeplabv3" or model.backbone.name not in _BACKBONES:
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench could write.",
            next="segbench weights convert --help",
        )
    written = _names(model.backbone).theirs(state, title=TITLE)
    check_same_network(read(written).model, model, title=TITLE)
    return written


def _backbone(state: State) -> tuple[Choice, str]:
    if is_resnet(state, "backbone."):
        options = resnet_options(state, "backbone.")
        return Choice(name="resnet", options={**options, "output_stride": 8}), described(options)
    if "backbone.16.0.weight" in state and "backbone.1.block.0.0.weight" in state:
        options = {"output_stride": 16, "dilation": "full", "bn_eps": 1e-3, "bn_momentum": 0.01}
        return Choice(name="mobilenetv3-large", options=options), "MobileNetV3-Large"
    raise InvalidFault("Its backbone is neither ResNet nor MobileNetV3-Large.", next="segbench list")


def _head_options(state: State) -> dict[str, Any]:
    channels = state["classifier.0.project.0.weight"].shape[0]
    options: dict[str, Any] = {"dropout": 0.5, "dropout_of": "elements", "refine": "conv3x3_relu"}
    if channels != 256:
        options["channels"] = channels
    if any(name.startswith(_AUX) for name in state):
        aux_channels = state[f"{_AUX}0.weight"].shape[0]
        options |= {"auxiliary": True, "aux_dropout": 0.1}
        options |= {} if aux_channels == 256 else {"aux_channels": aux_channels}
    return options


def _names(backbone: Choice) -> Names:
    return Names((*_HEAD_NAMES, *(_MOBILENET_NAMES if backbone.name == "mobilenetv3-large" else _RESNET_NAMES)))


def _unit(theirs: str, ours: str, *, first: int = 0) -> tuple[Pair, Pair]:
    """A convolution and its normalisation, numbered from ``first`` there."""
    return (f"{theirs}.{first}", f"{ours}.conv"), (f"{theirs}.{first + 1}", f"{ours}.norm")


_HEAD_NAMES: tuple[Pair, ...] = (
    *(pair for k in range(4) for pair in _unit(f"classifier.0.convs.{k}", f"decoder.aspp.branches.{k}")),
    *_unit("classifier.0.convs.4", "decoder.aspp.pooling", first=1),
    *_unit("classifier.0.project", "decoder.aspp.project"),
    *_unit("classifier", "decoder.refine", first=1),
    ("classifier.4", "decoder.classifier"),
    *_unit("aux_classifier", "decoder.auxiliary.conv"),
    ("aux_classifier.4", "decoder.auxiliary.classifier"),
)
_RESNET_NAMES: tuple[Pair, ...] = (
    ("backbone.conv1", "backbone.conv1"),
    ("backbone.bn1", "backbone.bn1"),
    *((f"backbone.layer{stage}", f"backbone.layer{stage}") for stage in (1, 2, 3, 4)),
)


def _mobilenet_names() -> list[Pair]:
    found = [("backbone.0.0", "backbone.conv_stem"), ("backbone.0.1", "backbone.bn1")]
    blocks = [f"backbone.blocks.{stage}.{number}" for stage, count in enumerate(_STAGES) for number in range(count)]
    for layer, ours in enumerate(blocks, start=1):
        # the first block has no convolution that widens; in the others there may be an excitation before the last
        steps = ["conv_dw", "conv_pw"] if layer == 1 else ["conv_pw", "conv_dw", "conv_pwl"]
        places = list(range(len(steps)))
        if layer in _SQUEEZED:
            places[-1] += 1
            found += [
                (f"backbone.{layer}.block.2.fc1", f"{ours}.se.conv_reduce"),
                (f"backbone.{layer}.block.2.fc2", f"{ours}.se.conv_expand"),
            ]
        for number, (place, step) in enumerate(zip(places, steps, strict=True), start=1):
            theirs = f"backbone.{layer}.block.{place}"
            found += [(f"{theirs}.0", f"{ours}.{step}"), (f"{theirs}.1", f"{ours}.bn{number}")]
    last = len(blocks) + 1
    return [
        *found,
        (f"backbone.{last}.0", "backbone.blocks.6.0.conv"),
        (f"backbone.{last}.1", "backbone.blocks.6.0.bn1"),
    ]


_MOBILENET_NAMES = tuple(_mobilenet_names())
