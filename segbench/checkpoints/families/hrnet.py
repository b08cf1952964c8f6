"""The official HRNet for segmentation, plain and with OCR (HRNet/HRNet-Semantic-Segmentation).

Branches ``master`` (PyTorch 0.4) and ``pytorch-v1.1`` have the plain network, ``HRNet-OCR`` (commit 0bbb288) has both.
A file holds network and loss, ``model.*`` and ``loss.*``; the backbone lies directly under ``model.``.

A file does not state how resizes sample. The first two branches never align corners. Branch HRNet-OCR has a setting for
it, true by default: its configurations of the plain network set it to false for Cityscapes, LIP and PASCAL-Context and
leave it out for ADE20K and COCO-Stuff, which only this branch has; none with OCR sets it.
"""

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec

from ..family import Family, ForeignCheckpoint, StateDict
from ..layouts import inplace_norm
from ..layouts.equality import check_same_network
from ..layouts.hrnet import hrnet_backbone, hrnet_label, hrnet_pairs, is_hrnet
from ..layouts.ocr import attention_pairs, conv_norm, ocr_options, with_aux_channels
from ..layouts.renaming import ModuleNames

TITLE = "official HRNet"

_NETWORK, _LOSS = "model.", "loss."
_ALIGNED_CLASSES = (150, 171)  # ADE20K, COCO-Stuff
_SMALL_IMAGES = (59, 60, 150, 171)  # those and PASCAL-Context, without and with background
# Logits are resized to the network's input and then to the image (lib/datasets/base_dataset.py, cityscapes.py).
_WHOLE: dict[str, object] = {"mode": "whole", "enlarge": "twice"}
_LONG_520: dict[str, object] = {
    "short_side": 520, "max_side": 520, "mode": "slide", "window": (520, 520), "stride": (346, 346),
    "pad": {"to_window": True}, "enlarge": "twice",
}  # fmt: skip
_UNALIGNED = (
    "Whether resizes align corners is not in the file; taken not to, as its project's configurations of this network "
    "say for Cityscapes, LIP and PASCAL-Context. Its README says the opposite: if the score is low, try that."
)
_ALIGNED = (
    "Whether resizes align corners is not in the file; taken to, as is the default of the one branch of its project "
    "with as many classes."
)

_PLAIN = ModuleNames(
    (*hrnet_pairs(""), *conv_norm("last_layer", "decoder", inside=""), ("last_layer.3", "decoder.classifier")),
)
_OCR = ModuleNames(
    (
        *hrnet_pairs(""),
        *conv_norm("aux_head", "decoder.regions.0", inside=""),
        ("aux_head.3", "decoder.regions.2"),
        *conv_norm("conv3x3_ocr", "decoder.pixels", inside=""),
        *attention_pairs("ocr_distri_head"),
        ("cls_head", "decoder.classifier"),
    )
)


def detect(state: StateDict) -> bool:
    """Return True for HRNet with one of the two heads, with or without its prefix."""
    bare = _bare(state)
    return is_hrnet(bare, "") and ("last_layer.0.weight" in bare or "conv3x3_ocr.0.weight" in bare)


def read(state: StateDict) -> ForeignCheckpoint:
    """Read HRNetV2 of any width, with its 1x1 head or OCR.

    Raises:
        KeyError: a tensor that identifies the network is missing.
    """
    bare = _bare(state)
    ocr = "conv3x3_ocr.0.weight" in bare
    backbone = hrnet_backbone(bare, "")
    classifier = "cls_head" if ocr else "last_layer.3"
    num_classes = bare[f"{classifier}.weight"].shape[0]
    aligned = ocr or num_classes in _ALIGNED_CLASSES
    if ocr:
        sizes = ocr_options("ocr_distri_head", bare["aux_head.0.weight"], bare)
        decoder = Choice(name="ocr", options={"aux_head": "conv1x1", "attention_bias": False, **sizes})
    else:
        decoder = Choice(name="concat", options={"head": "conv1x1"})
    notes = [] if ocr else [_ALIGNED if aligned else _UNALIGNED]
    if not inplace_norm.is_counted(bare):
        bare = inplace_norm.as_plain(bare)
        notes.append(inplace_norm.NOTE)
    return ForeignCheckpoint(
        family="hrnet",
        title=f"{TITLE}{'-OCR' if ocr else ''}, {hrnet_label(backbone)}",
        model=ModelSpec(backbone=backbone, decoder=decoder, align_corners=aligned),
        num_classes=num_classes,
        tensors=(_OCR if ocr else _PLAIN).to_segbench(bare),
        dropped=tuple(name for name in state if name.startswith(_LOSS)),
        notes=tuple(notes),
        protocol=_LONG_520 if num_classes in _SMALL_IMAGES else _WHOLE,
    )


def write(state: StateDict, model: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors under the project's names, the inverse of `read`.

    All have the prefix ``model.``, which the project's test program cuts off unconditionally.

    Args:
        state: tensors of a `Segmentor`.
        model: the network of these tensors.

    Raises:
        InvalidFault: the official HRNet does not have this network.
    """
    if model.backbone.name != "hrnetv2" or model.decoder.name not in ("concat", "ocr"):
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench can write.",
            next="segbench weights convert --help",
        )
    written = (_OCR if model.decoder.name == "ocr" else _PLAIN).from_segbench(state, title=TITLE)
    ours = with_aux_channels(model, state)
    check_same_network(read(written).model, ours, title=TITLE, settings=("align_corners",))
    return {f"{_NETWORK}{name}": tensor for name, tensor in written.items()}


def _bare(state: StateDict) -> dict[str, Tensor]:
    """Return the network's tensors without their prefix."""
    return {name.removeprefix(_NETWORK): tensor for name, tensor in state.items() if not name.startswith(_LOSS)}


FAMILY = Family(name="hrnet", title=TITLE, detect=detect, read=read, write=write)
