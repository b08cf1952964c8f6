"""MMSegmentation's heads (``mmseg/models/decode_heads``) as segbench's decoders.

Their unit is a convolution with its norm, ``X.conv`` and ``X.bn``; a depthwise separable one consists of two of these,
``X.depthwise_conv`` and ``X.pointwise_conv``. The classifier is ``conv_seg``.
"""

from typing import Any, NamedTuple

from segbench.checkpoints.family import StateDict
from segbench.checkpoints.layouts.renaming import Pair
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice

AUXILIARY = "auxiliary_head."
# Decoders by the backbones that they are read on.
DECODERS = {
    "deeplabv3plus": ("resnet", "mobilenetv2"),
    "deeplabv3": ("resnet", "mobilenetv2"),
    "pspnet": ("resnet", "mobilenetv2"),
    "ocr": ("resnet", "hrnetv2"),
    "concat": ("hrnetv2",),
}

_HEAD = "decode_head."
_AUX_CONV = f"{AUXILIARY}convs.0.conv.weight"
# The name of each in words, and a tensor that those above it lack.
_KINDS = {
    "deeplabv3plus": ("DeepLabV3+", f"{_HEAD}c1_bottleneck.conv.weight"),
    "deeplabv3": ("DeepLabV3", f"{_HEAD}aspp_modules.0.conv.weight"),
    "pspnet": ("PSPNet", f"{_HEAD}psp_modules.0.1.conv.weight"),
    "ocr": ("OCRNet", f"{_HEAD}1.object_context_block.out_project.conv.weight"),
    "concat": ("FCN-HRNet", f"{_HEAD}convs.0.conv.weight"),
}
_CALLED = {"resnet": "ResNet", "hrnetv2": "HRNet", "mobilenetv2": "MobileNetV2"}
_READ = (
    "PSPNet, DeepLabV3 and DeepLabV3+ on ResNet and MobileNetV2, OCRNet on ResNet and HRNet, FCN on HRNet, SegFormer, "
    "and UPerNet on Swin"
)
OWN_CODE = "segbench eval --checkpoint FILE --model MODULE:FUNCTION, with the code of your own network"
_BINS = 4
_BRANCHES = 4


class ReadHead(NamedTuple):
    """A head, its name in words, and its number of classes."""

    choice: Choice
    label: str
    num_classes: int


def read_head(state: StateDict, backbone: str) -> ReadHead:
    """Read the head with its sizes.

    Raises:
        KeyError: a tensor that identifies it is missing.
        InvalidFault: segbench has no such head, or not on this backbone.
    """
    kind = next((kind for kind, (_, tensor) in _KINDS.items() if tensor in state), None)
    pyramid_of_features = any(name.startswith(f"{_HEAD}lateral_convs.") for name in state)  # UPerNet pools first, too
    if kind is None or pyramid_of_features or backbone not in DECODERS[kind]:
        first = next((name for name in state if name.startswith(_HEAD) and "conv_seg" not in name), "nothing")
        label = f"a head with {first}" if kind is None else _KINDS[kind][0].removesuffix("-HRNet")
        raise InvalidFault(
            f"It is {'UPerNet' if pyramid_of_features else label} on {_CALLED[backbone]}; of MMSegmentation's networks "
            f"segbench reads {_READ}.",
            next=OWN_CODE,
        )
    classifier = f"{_HEAD}1.conv_seg.weight" if kind == "ocr" else f"{_HEAD}conv_seg.weight"
    options = _OPTIONS[kind](state)
    return ReadHead(Choice(name=kind, options=options), _KINDS[kind][0], state[classifier].shape[0])


def head_names(decoder: str) -> list[Pair]:
    """Return the names of the modules of the head that is this decoder, theirs and ours."""
    return _NAMES[decoder]


def _different(**sizes: tuple[int, int]) -> dict[str, int]:
    """Return the sizes that differ from the decoder's default, the second of each pair."""
    return {name: size for name, (size, usual) in sizes.items() if size != usual}


def _auxiliary(state: StateDict) -> dict[str, Any]:
    """Return the options of the classifier on the last but one layer, if there is one of a single convolution."""
    if _AUX_CONV not in state:
        return {}
    found = _different(aux_channels=(state[_AUX_CONV].shape[0], 256))
    return {"auxiliary": True, "aux_dropout": 0.1, **found}


def _pspnet(state: StateDict) -> dict[str, Any]:
    channels = state[f"{_HEAD}bottleneck.conv.weight"].shape[0]
    return {**_different(channels=(channels, 512)), **_auxiliary(state)}


def _deeplabv3(state: StateDict) -> dict[str, Any]:
    channels = state[f"{_HEAD}bottleneck.conv.weight"].shape[0]
    return {"channels": channels, "project_kernel": 3, "pooling_first": True, "dropout": 0.1, **_auxiliary(state)}


def _deeplabv3plus(state: StateDict) -> dict[str, Any]:
    low = _different(low_channels=(state[f"{_HEAD}c1_bottleneck.conv.weight"].shape[0], 48))
    plus = {"rates": (12, 24, 36), "separable": True, "dropout": (0.0, 0.1), "dropout_of": "channels"}
    return {**_deeplabv3(state), **plus, **low}


def _concat(state: StateDict) -> dict[str, Any]:
    return {"head": "conv1x1", "conv_bias": False}


def _ocr(state: StateDict) -> dict[str, Any]:
    """Return the options of OCR: no biases before norms; the soft regions come from the first of two heads."""
    region = state[f"{_HEAD}0.convs.0.conv.weight"].shape
    options: dict[str, Any] = {"conv_bias": False, "attention_bias": False}
    options |= _different(
        channels=(state[f"{_HEAD}1.bottleneck.conv.weight"].shape[0], 512),
        key_channels=(state[f"{_HEAD}1.object_context_block.value_project.conv.weight"].shape[0], 256),
    )
    if region[2] == 1:  # on HRNet: all layers, as wide after the convolution as before
        return {**options, "aux_head": "conv1x1", "dropout": 0.0}
    return {**options, "aux_features": "stage3", "aux_channels": region[0], "dropout": 0.1, "aux_dropout": 0.1}


_OPTIONS = {
    "deeplabv3plus": _deeplabv3plus,
    "deeplabv3": _deeplabv3,
    "pspnet": _pspnet,
    "ocr": _ocr,
    "concat": _concat,
}


def _conv_norm(theirs: str, ours: str) -> tuple[Pair, Pair]:
    return (f"{theirs}.conv", f"{ours}.conv"), (f"{theirs}.bn", f"{ours}.norm")


def _separable(theirs: str, ours: str) -> tuple[Pair, ...]:
    depthwise = _conv_norm(f"{theirs}.depthwise_conv", f"{ours}.depthwise")
    return *depthwise, *_conv_norm(f"{theirs}.pointwise_conv", f"{ours}.pointwise")


_CLASSIFIER: Pair = (f"{_HEAD}conv_seg", "decoder.classifier")
_AUX: list[Pair] = [
    *_conv_norm(f"{AUXILIARY}convs.0", "decoder.auxiliary.conv"),
    (f"{AUXILIARY}conv_seg", "decoder.auxiliary.classifier"),
]
_ASPP: list[Pair] = [
    *_conv_norm(f"{_HEAD}image_pool.1", "decoder.aspp.pooling"),
    *_conv_norm(f"{_HEAD}aspp_modules.0", "decoder.aspp.branches.0"),
    *_conv_norm(f"{_HEAD}bottleneck", "decoder.aspp.project"),
]
_POOLED = [(f"{_HEAD}psp_modules.{k}.1", f"decoder.pyramid.branches.{k}") for k in range(_BINS)]
_BRANCH = [(f"{_HEAD}aspp_modules.{k}", f"decoder.aspp.branches.{k}") for k in range(1, _BRANCHES)]
_RELATION = f"{_HEAD}1.object_context_block"

_NAMES: dict[str, list[Pair]] = {
    "pspnet": [
        *(
            pair
            for k in range(_BINS)
            for pair in _conv_norm(f"{_HEAD}psp_modules.{k}.1", f"decoder.pyramid.branches.{k}")
        ),
        *_conv_norm(f"{_HEAD}bottleneck", "decoder.conv"),
        *_AUX,
        _CLASSIFIER,
    ],
    "deeplabv3": [*_ASPP, *(pair for branch in _BRANCH for pair in _conv_norm(*branch)), *_AUX, _CLASSIFIER],
    "deeplabv3plus": [
        *_ASPP,
        *(pair for branch in _BRANCH for pair in _separable(*branch)),
        *_conv_norm(f"{_HEAD}c1_bottleneck", "decoder.low"),
        *(pair for k in range(2) for pair in _separable(f"{_HEAD}sep_bottleneck.{k}", f"decoder.fuse.{k}")),
        *_AUX,
        _CLASSIFIER,
    ],
    "concat": [*_conv_norm(f"{_HEAD}convs.0", "decoder"), _CLASSIFIER],
    "ocr": [
        *_conv_norm(f"{_HEAD}0.convs.0", "decoder.regions.0"),
        (f"{_HEAD}0.conv_seg", "decoder.regions.2"),
        *_conv_norm(f"{_HEAD}1.bottleneck", "decoder.pixels"),
        *(
            pair
            for name in ("query", "key")
            for k in range(2)
            for pair in _conv_norm(f"{_RELATION}.{name}_project.{k}", f"decoder.attention.{name}.{k}")
        ),
        *_conv_norm(f"{_RELATION}.value_project", "decoder.attention.value"),
        *_conv_norm(f"{_RELATION}.out_project", "decoder.attention.out"),
        *_conv_norm(f"{_RELATION}.bottleneck", "decoder.fuse"),
        (f"{_HEAD}1.conv_seg", "decoder.classifier"),
    ],
}
