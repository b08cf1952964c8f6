"""SemiSeg-Contrastive (Shathe/SemiSeg-Contrastive, commit dc53c6d): DeepLabV2 on ResNet-101, DeepLabV3+ on ResNet-50.

The backbone has torchvision's names; ``layer5.conv2d_list`` are DeepLabV2's dilated classifiers, ``aspp`` and
``decoder`` those of DeepLabV3+. Heads and selectors of the contrastive loss are left out. Images are reduced by a
mean and divided by 255, not by a std (utils/transformsgpu.py); every resize aligns corners.

A DeepLabV2 that started from COCO weights has the same tensors as one from ImageNet's, but other strides, another
rounding and BGR input; that one is the family ``semiseg-coco``.

The family is only read: the project loads its files whole, heads included.
"""

from typing import Literal

from segbench.core.spec import Choice, InputSpec, ModelSpec

from ..family import Family, ForeignCheckpoint, StateDict
from ..layouts.renaming import ModuleNames, Pair
from ..layouts.resnet import is_resnet, resnet_label, resnet_options

TITLE = "SemiSeg-Contrastive"
Start = Literal["imagenet", "coco"]

_TRAINING = ("projection_head.", "prediction_head.", "contrastive_class_selector_")
_VOC_CLASSES, _CITYSCAPES_CLASSES = 21, 19
# Means of 0..255 in the order of RGB.
_VOC_MEAN = (122.6789143, 116.66876762, 104.00698793)
_CITYSCAPES_MEAN = (73.15835921, 82.90891754, 72.39239876)
_MARK_V2 = "layer5.conv2d_list.0.weight"
_MARK_V3PLUS = "aspp.aspp1.atrous_conv.weight"

_STARTS = {
    "imagenet": (
        "Taken to have started from ImageNet weights: fed RGB, strides in the 3x3 convolutions. The file does not say; "
        "one that started from COCO weights would score less so."
    ),
    "coco": "Taken to have started from COCO weights: fed BGR, strides in the 1x1 convolutions, sizes rounded up.",
}
_BRANCHES = (
    "Of its four dilated classifiers the first two are summed, as in the released code; the other two were never "
    "trained by it."
)
_MEAN = "With {classes} classes it is of none of the project's data sets; taken to be fed with the mean of VOC 2012."


def detect(state: StateDict) -> bool:
    """Return True for one of the two networks."""
    return is_resnet(state, "") and (
        is_deeplabv2(state) or (_MARK_V3PLUS in state and "decoder.pre_last_conv.0.weight" in state)
    )


def is_deeplabv2(state: StateDict) -> bool:
    """Return True for DeepLabV2."""
    return _MARK_V2 in state


def read(state: StateDict) -> ForeignCheckpoint:
    """Read DeepLabV3+, or DeepLabV2 as one that started from ImageNet weights.

    Raises:
        KeyError: a tensor that identifies the network is missing.
    """
    return read_started(state, start="imagenet", family="semiseg")


def read_started(state: StateDict, *, start: Start, family: str) -> ForeignCheckpoint:
    """Read DeepLabV3+, or DeepLabV2 as one that started from these weights."""
    dropped = tuple(name for name in state if name.startswith(_TRAINING))
    kept = {name: tensor for name, tensor in state.items() if name not in set(dropped)}
    v2 = is_deeplabv2(kept)
    num_classes = kept[_MARK_V2 if v2 else "decoder.last_conv.weight"].shape[0]
    found = resnet_options(kept, "")
    backbone = {
        **found,
        "output_stride": 8 if v2 else 16,
        "dilation": "full",
        "frozen_norm": True,
        **({"ceil_mode": True, "stride_in": "conv1"} if start == "coco" else {}),
    }
    decoder = Choice(name="deeplabv2") if v2 else _deeplabv3plus(kept)
    known = num_classes in (_VOC_CLASSES, _CITYSCAPES_CLASSES)
    halved = v2 and num_classes == _CITYSCAPES_CLASSES
    return ForeignCheckpoint(
        family=family,
        title=f"{TITLE} {'DeepLabV2' if v2 else 'DeepLabV3+'}, {resnet_label(found)}",
        model=ModelSpec(
            backbone=Choice(name="resnet", options=backbone),
            decoder=decoder,
            align_corners=True,
            input=_input(num_classes, start),
        ),
        num_classes=num_classes,
        tensors=(_V2 if v2 else _V3PLUS).to_segbench(kept),
        dropped=dropped,
        notes=(
            *((_STARTS[start], _BRANCHES) if v2 else ()),
            *(() if known else (_MEAN.format(classes=num_classes),)),
        ),
        # images of 1024x2048, which DeepLabV2 sees at half their size
        protocol={"mode": "whole", **({"short_side": 512} if halved else {})},
    )


def _input(num_classes: int, start: Start) -> InputSpec:
    red, green, blue = _CITYSCAPES_MEAN if num_classes == _CITYSCAPES_CLASSES else _VOC_MEAN
    rgb = (red / 255, green / 255, blue / 255)
    if start == "coco":
        return InputSpec(channels="bgr", mean=(rgb[2], rgb[1], rgb[0]), std=(1.0, 1.0, 1.0))
    return InputSpec(mean=rgb, std=(1.0, 1.0, 1.0))


def _deeplabv3plus(state: StateDict) -> Choice:
    channels = state["aspp.conv1.weight"].shape[0]
    low_channels = state["decoder.conv1.weight"].shape[0]
    sizes = {"channels": (channels, 256), "low_channels": (low_channels, 48)}
    return Choice(name="deeplabv3plus", options={key: value for key, (value, own) in sizes.items() if value != own})


_RESNET: tuple[Pair, ...] = tuple(
    (part, f"backbone.{part}") for part in ("conv1", "bn1", *(f"layer{stage}" for stage in (1, 2, 3, 4)))
)
_V2 = ModuleNames((*_RESNET, ("layer5.conv2d_list", "decoder.branches")))
_V3PLUS = ModuleNames(
    (
        *_RESNET,
        *(
            pair
            for k in range(4)
            for pair in (
                (f"aspp.aspp{k + 1}.atrous_conv", f"decoder.aspp.branches.{k}.conv"),
                (f"aspp.aspp{k + 1}.bn", f"decoder.aspp.branches.{k}.norm"),
            )
        ),
        ("aspp.global_avg_pool.1", "decoder.aspp.pooling.conv"),
        ("aspp.global_avg_pool.2", "decoder.aspp.pooling.norm"),
        ("aspp.conv1", "decoder.aspp.project.conv"),
        ("aspp.bn1", "decoder.aspp.project.norm"),
        ("decoder.conv1", "decoder.low.conv"),
        ("decoder.bn1", "decoder.low.norm"),
        ("decoder.pre_last_conv.0", "decoder.fuse.0.conv"),
        ("decoder.pre_last_conv.1", "decoder.fuse.0.norm"),
        ("decoder.pre_last_conv.3", "decoder.fuse.1.conv"),
        ("decoder.pre_last_conv.4", "decoder.fuse.1.norm"),
        ("decoder.last_conv", "decoder.classifier"),
    )
)


FAMILY = Family(name="semiseg", title=TITLE, detect=detect, read=read, state_keys=("model",))
