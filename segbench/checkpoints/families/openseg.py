"""openseg.pytorch (commit aefc755) and ContrastiveSeg, which extends it (tfzhou/ContrastiveSeg, commit 287e5d3).

Networks on HRNet with a 3x3 head (``cls_head.0``, ``.3``) or OCR (``ocr_distri_head``), and on the ResNet with a deep
stem with DeepLabV3 (``decoder.layer_aspp``) or OCR (``spatial_ocr_head``). Those trained with contrast have a
projection head beside it, ``proj_head``; those with a memory bank have everything in ``encoder_q``, and queues beside.

Their input is BGR: on HRNet with ImageNet's mean and std in the order of RGB, on ResNet with values in 0..255 minus
a mean (``normalize`` in configs/*/H_48_D_4.json and R_101_D_8.json). Every resize aligns corners.

Files of openseg for PyTorch 0.4, its model zoo among them, have one module for norm and activation, the in-place
activated batch norm with a leaky ReLU of slope 0.01 (``ModuleHelper.BNReLU``); in newer ones two lie in a sequence.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from torch import Tensor

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, InputSpec, ModelSpec

from ..family import Family, ForeignCheckpoint, StateDict
from ..layouts import inplace_norm
from ..layouts.equality import check_same_network
from ..layouts.hrnet import hrnet_backbone, hrnet_label, hrnet_pairs, is_hrnet
from ..layouts.ocr import attention_pairs, conv_norm, ocr_options, with_aux_channels
from ..layouts.packing import with_state_dict
from ..layouts.renaming import ModuleNames, Pair
from ..layouts.resnet import resnet_label, resnet_options

TITLE = "openseg"

_LEAKY_SLOPE = 0.01
_ENCODER = "encoder_q."
_QUEUES = ("segment_queue", "segment_queue_ptr", "pixel_queue", "pixel_queue_ptr")
_PROJECTION = "proj_head."
_HRNET_INPUT = InputSpec(channels="bgr")
_RESNET_INPUT = InputSpec(
    channels="bgr", mean=(102.9801 / 255, 115.9465 / 255, 122.7717 / 255), std=(1 / 255, 1 / 255, 1 / 255)
)
_PADDED_CLASSES = (150,)  # of ADE20K, whose images are padded at the end to a multiple of 8
_STRIDE = "The file does not say at which stride its ResNet ends; taken to be 8, as of every published one."
_BGR = "Its images are fed as BGR; in RGB it would score less without a word."


class Layout(NamedTuple):
    """Tensor names of one kind of network.

    Attributes:
        label: its head in words.
        mark: a tensor that only this kind has.
        norm: the first norm of its head, with and without a sequence around it.
        classifier: the last layer.
    """

    label: str
    mark: str
    norm: str
    classifier: str


_LAYOUTS: dict[tuple[str, str], Layout] = {
    ("hrnetv2", "concat"): Layout("network with a 3x3 head", "cls_head.3.weight", "cls_head.1", "cls_head.3"),
    ("hrnetv2", "ocr"): Layout("OCR", "conv3x3.0.weight", "conv3x3.1", "cls_head"),
    ("resnet", "deeplabv3"): Layout(
        "DeepLabV3", "decoder.layer_aspp.b0.0.weight", "decoder.layer_aspp.b0.1", "decoder.refine.2"
    ),
    ("resnet", "ocr"): Layout("OCR", "spatial_ocr_head.conv_bn_dropout.0.weight", "conv_3x3.1", "head"),
}


def detect(state: StateDict) -> bool:
    """Return True for one of the four kinds, with or without what its training adds."""
    return _kind(_bare(state)) is not None


def read(state: StateDict) -> ForeignCheckpoint:
    """Read the network without projection head and queues.

    Raises:
        KeyError: a tensor that identifies the network is missing.
        InvalidFault: it has activations that segbench's decoder lacks.
    """
    bare = _bare(state)
    kind = _kind(bare) or ("", "")
    layout = _LAYOUTS[kind]
    kept = {name: tensor for name, tensor in bare.items() if not name.startswith(_PROJECTION) and name not in _QUEUES}
    # a norm that is the module itself is the in-place one, activation included
    inplace = f"{layout.norm}.weight" in kept
    options = _head_options(kind, kept)
    if inplace:
        options |= {"negative_slope": _LEAKY_SLOPE}
        _check_known(kind[1], options)
        kept = inplace_norm.as_plain(kept)
    on_hrnet = kind[0] == "hrnetv2"
    backbone, label = _hrnet(kept) if on_hrnet else _resnet(kept)
    num_classes = kept[f"{layout.classifier}.weight"].shape[0]
    contrast = kind[1] == "deeplabv3" or len(kept) < len(bare)  # openseg itself has no DeepLabV3 and no projections
    return ForeignCheckpoint(
        family="openseg",
        title=f"{'ContrastiveSeg' if contrast else TITLE} {layout.label}, {label}",
        model=ModelSpec(
            backbone=backbone,
            decoder=Choice(name=kind[1], options=options),
            align_corners=True,
            input=_HRNET_INPUT if on_hrnet else _RESNET_INPUT,
        ),
        num_classes=num_classes,
        tensors=_names(kind, inside="" if inplace else ".0").to_segbench(kept),
        dropped=tuple(name for name in state if name.removeprefix(_ENCODER) not in kept),
        notes=(_BGR, *(() if on_hrnet else (_STRIDE,)), *((inplace_norm.NOTE,) if inplace else ())),
        protocol={"mode": "whole", **({"pad": {"multiple": 8}} if num_classes in _PADDED_CLASSES else {})},
    )


def write(state: StateDict, model: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors under the names of openseg since PyTorch 1.7, the inverse of `read`.

    Args:
        state: tensors of a `Segmentor`.
        model: the network of these tensors.

    Raises:
        InvalidFault: openseg does not have this network.
    """
    kind = (model.backbone.name, model.decoder.name)
    if kind not in _LAYOUTS:
        raise InvalidFault(
            f"{TITLE} has no {kind[1]} on {kind[0]} that segbench could write.", next="segbench weights convert --help"
        )
    written = _names(kind, inside=".0").from_segbench(state, title=TITLE)
    check_same_network(read(written).model, with_aux_channels(model, state), title=TITLE)
    return written


def _bare(state: StateDict) -> dict[str, Tensor]:
    return {name.removeprefix(_ENCODER): tensor for name, tensor in state.items()}


def _kind(bare: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Return backbone and decoder; None for none of the four kinds."""
    backbone = "hrnetv2" if is_hrnet(bare, "backbone.") else ""
    if "backbone.resinit.conv3.weight" in bare:
        backbone = "resnet"
    return next((kind for kind, layout in _LAYOUTS.items() if kind[0] == backbone and layout.mark in bare), None)


def _head_options(kind: tuple[str, str], state: StateDict) -> dict[str, Any]:
    """Return the options of the decoder as the project builds it, dropout and initialisation included."""
    if kind == ("hrnetv2", "concat"):
        return {"relu": True, "dropout": 0.1}
    if kind == ("hrnetv2", "ocr"):
        return ocr_options("ocr_distri_head", state["aux_head.0.weight"], state)
    if kind == ("resnet", "ocr"):
        sizes = ocr_options("spatial_ocr_head", state["dsn_head.0.weight"], state)
        return {"aux_features": "stage3", "aux_dropout": 0.05, **sizes}
    aux_channels = state["decoder.layer_dsn.0.weight"].shape[0]
    return {
        "channels": state["decoder.layer_aspp.project.0.weight"].shape[0],
        "project_kernel": 3,
        "refine": "conv3x3",
        "init": "kaiming",
        "auxiliary": True,
        "aux_bias": True,
        **({} if aux_channels == 256 else {"aux_channels": aux_channels}),
    }


def _check_known(decoder: str, options: dict[str, Any]) -> None:
    """Raise if segbench's decoder cannot have leaky activations.

    Raises:
        InvalidFault: it cannot.
    """
    try:
        registry.options_of("decoder", decoder).model_validate(options)
    except ValidationError as error:
        raise InvalidFault(
            f"Its head was trained with in-place batch norm, whose activation is a leaky ReLU of slope {_LEAKY_SLOPE}; "
            f"segbench's {decoder} has plain ones: with these weights it would compute something else.",
            next="segbench weights list",
        ) from error


def _hrnet(state: StateDict) -> tuple[Choice, str]:
    choice = hrnet_backbone(state, "backbone.")
    return choice, hrnet_label(choice)


def _resnet(state: StateDict) -> tuple[Choice, str]:
    found = resnet_options(state, "backbone.")
    options = {**found, "stem": "deep", "output_stride": 8, "ceil_mode": True}
    return Choice(name="resnet", options=options), f"{resnet_label(found)} with a deep stem"


def _names(kind: tuple[str, str], *, inside: str) -> ModuleNames:
    """Return the names of all modules, with the norms ``inside`` the module after their convolution."""
    backbone = hrnet_pairs("backbone.") if kind[0] == "hrnetv2" else _RESNET
    return ModuleNames((*backbone, *_head_pairs(kind, inside=inside)))


def _head_pairs(kind: tuple[str, str], *, inside: str) -> tuple[Pair, ...]:
    if kind == ("hrnetv2", "concat"):
        return (*conv_norm("cls_head", "decoder", inside=inside), ("cls_head.3", "decoder.classifier"))
    if kind[1] == "ocr":
        on_hrnet = kind[0] == "hrnetv2"
        aux, pixels, classifier = ("aux_head", "conv3x3", "cls_head") if on_hrnet else ("dsn_head", "conv_3x3", "head")
        return (
            *conv_norm(aux, "decoder.regions.0", inside=inside),
            (f"{aux}.2" if on_hrnet else f"{aux}.3", "decoder.regions.2"),
            *conv_norm(pixels, "decoder.pixels", inside=inside),
            *attention_pairs("ocr_distri_head" if on_hrnet else "spatial_ocr_head", inside=inside),
            (classifier, "decoder.classifier"),
        )
    aspp = "decoder.layer_aspp"
    return (
        *(pair for k in range(4) for pair in conv_norm(f"{aspp}.b{k}", f"decoder.aspp.branches.{k}", inside=inside)),
        *conv_norm(f"{aspp}.b4", "decoder.aspp.pooling", first=1, inside=inside),
        *conv_norm(f"{aspp}.project", "decoder.aspp.project", inside=inside),
        # this norm has no activation, and so no sequence around it
        *conv_norm("decoder.refine", "decoder.refine", inside=""),
        ("decoder.refine.2", "decoder.classifier"),
        *conv_norm("decoder.layer_dsn", "decoder.auxiliary.conv", inside=inside),
        ("decoder.layer_dsn.2", "decoder.auxiliary.classifier"),
    )


_RESNET: tuple[Pair, ...] = (
    ("backbone.resinit.conv1", "backbone.conv1.0"),
    ("backbone.resinit.bn1", "backbone.conv1.1"),
    ("backbone.resinit.conv2", "backbone.conv1.3"),
    ("backbone.resinit.bn2", "backbone.conv1.4"),
    ("backbone.resinit.conv3", "backbone.conv1.6"),
    ("backbone.resinit.bn3", "backbone.bn1"),
    *((f"backbone.layer{stage}", f"backbone.layer{stage}") for stage in (1, 2, 3, 4)),
)


FAMILY = Family(
    name="openseg", title=TITLE, detect=detect, read=read, write=write, pack=with_state_dict, state_keys=("state_dict",)
)
