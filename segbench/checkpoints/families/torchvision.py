"""torchvision's DeepLabV3 on ResNet and MobileNetV3-Large (torchvision 0.29, ``models/segmentation``).

The head is numbered layers: ``classifier.0.convs`` the pyramid, whose last branch is the pooling one,
``classifier.0.project``, then the 3x3 convolution and the classifier. Backbones keep their own names, and a ResNet's
are timm's; MobileNetV3 numbers its layers, in the order of timm's names.
"""

from typing import Any

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec

from ..family import Family, ForeignCheckpoint, StateDict
from ..layouts.equality import check_same_network
from ..layouts.renaming import ModuleNames, Pair
from ..layouts.resnet import is_resnet, resnet_label, resnet_options

TITLE = "torchvision"

_VOC_CLASSES = 21
_HEAD = "classifier.0.convs.0.0.weight"
_AUX = "aux_classifier."
_BACKBONES = ("resnet", "mobilenetv3-large")
_VOC_NOTE = "The published ones were trained on COCO with the classes of VOC 2012, and scored at a short side of 520."
_AUX_NOTE = (
    "Its auxiliary classifier reads the fourth block of MobileNetV3, within a stage: segbench's network returns the "
    "ends of stages, and leaves it out."
)

# The blocks of MobileNetV3-Large (Howard et al. 2019, table 1): how many timm puts in a stage, and which of the layers
# as torchvision counts them have squeeze and excitation.
_STAGES = (1, 2, 3, 4, 2, 3)
_SQUEEZED = {4, 5, 6, 11, 12, 13, 14, 15}


def detect(state: StateDict) -> bool:
    """Return True for a network of ``torchvision.models.segmentation``."""
    if _HEAD in state or "classifier.cbr.0.weight" in state:
        return any(name.startswith("backbone.") for name in state)
    return "classifier.4.weight" in state and is_resnet(state, "backbone.")


def read(state: StateDict) -> ForeignCheckpoint:
    """Read DeepLabV3 with or without its auxiliary classifier; that of MobileNetV3 is left out.

    Raises:
        KeyError: a tensor that identifies the network is missing.
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
    return ForeignCheckpoint(
        family="torchvision",
        title=f"{TITLE} DeepLabV3, {label}",
        model=ModelSpec(backbone=backbone, decoder=Choice(name="deeplabv3", options=_head_options(kept))),
        num_classes=num_classes,
        tensors=_names(backbone).to_segbench(kept),
        dropped=dropped,
        notes=(*([_VOC_NOTE] if voc else ()), *([_AUX_NOTE] if dropped else ())),
        protocol={"mode": "whole", **({"short_side": 520} if voc else {})},
    )


def write(state: StateDict, model: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors under torchvision's names, the inverse of `read`.

    Args:
        state: tensors of a `Segmentor`.
        model: the network of these tensors.

    Raises:
        InvalidFault: torchvision does not have this network.
    """
    if model.decoder.name != "deeplabv3" or model.backbone.name not in _BACKBONES:
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench can write.",
            next="segbench weights convert --help",
        )
    written = _names(model.backbone).from_segbench(state, title=TITLE)
    check_same_network(read(written).model, model, title=TITLE)
    return written


def _backbone(state: StateDict) -> tuple[Choice, str]:
    if is_resnet(state, "backbone."):
        options = resnet_options(state, "backbone.")
        return Choice(name="resnet", options={**options, "output_stride": 8}), resnet_label(options)
    if "backbone.16.0.weight" in state and "backbone.1.block.0.0.weight" in state:
        options = {"output_stride": 16, "dilation": "full", "bn_eps": 1e-3, "bn_momentum": 0.01}
        return Choice(name="mobilenetv3-large", options=options), "MobileNetV3-Large"
    raise InvalidFault("Its backbone is neither ResNet nor MobileNetV3-Large.", next="segbench list")


def _head_options(state: StateDict) -> dict[str, Any]:
    channels = state["classifier.0.project.0.weight"].shape[0]
    options: dict[str, Any] = {"dropout": 0.5, "dropout_of": "elements", "refine": "conv3x3_relu"}
    if channels != 256:
        options["channels"] = channels
    if any(name.startswith(_AUX) for name in state):
        aux_channels = state[f"{_AUX}0.weight"].shape[0]
        options |= {"auxiliary": True, "aux_dropout": 0.1}
        options |= {} if aux_channels == 256 else {"aux_channels": aux_channels}
    return options


def _names(backbone: Choice) -> ModuleNames:
    return ModuleNames((*_HEAD_NAMES, *(_MOBILENET_NAMES if backbone.name == "mobilenetv3-large" else _RESNET_NAMES)))


def _conv_norm(theirs: str, ours: str, *, first: int = 0) -> tuple[Pair, Pair]:
    """Return the names of a convolution, numbered ``first``, and of the norm after it."""
    return (f"{theirs}.{first}", f"{ours}.conv"), (f"{theirs}.{first + 1}", f"{ours}.norm")


_HEAD_NAMES: tuple[Pair, ...] = (
    *(pair for k in range(4) for pair in _conv_norm(f"classifier.0.convs.{k}", f"decoder.aspp.branches.{k}")),
    *_conv_norm("classifier.0.convs.4", "decoder.aspp.pooling", first=1),
    *_conv_norm("classifier.0.project", "decoder.aspp.project"),
    *_conv_norm("classifier", "decoder.refine", first=1),
    ("classifier.4", "decoder.classifier"),
    *_conv_norm("aux_classifier", "decoder.auxiliary.conv"),
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
        # The first block has no expansion; in the others there may be an excitation before the last convolution.
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

# Its reference training keeps the network under ``model``, the moving average under ``model_ema``.
FAMILY = Family(
    name="torchvision",
    title=TITLE,
    detect=detect,
    read=read,
    write=write,
    state_keys=("model",),
    average_keys=("model_ema",),
)
