"""The official HRNet for segmentation, plain and with OCR (HRNet/HRNet-Semantic-Segmentation).

Branches ``master`` (PyTorch 0.4) and ``pytorch-v1.1`` have the plain network, ``HRNet-OCR`` (commit 0bbb288) has both.
A file holds network and loss, ``model.*`` and ``loss.*``; the backbone lies directly under ``model.``.

What a file does not say is how resizes sample. The first two branches never align corners. Branch HRNet-OCR has a
setting for it, true unless told otherwise: its configurations of the plain network say false for Cityscapes, LIP and
PASCAL-Context and nothing for ADE20K and COCO-Stuff, which only this branch has; none with OCR says anything.
"""

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec

from .. import inplace_norm
from ..equality import check_same_network
from ..family import Foreign, State
from ..high_resolution import hrnet_choice, hrnet_label, hrnet_pairs, is_hrnet
from ..object_context import attention_pairs, unit, widths, with_aux_channels
from ..renaming import Names

TITLE = "official HRNet"

_NETWORK, _LOSS = "model.", "loss."
_ALIGNED_CLASSES = (150, 171)  # ADE20K, COCO-Stuff
_SMALL_IMAGES = (59, 60, 150, 171)  # those and PASCAL-Context, without and with background
# Logits become the size that was shown before that becomes the image's (lib/datasets/base_dataset.py, cityscapes.py).
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

_PLAIN = Names(
    (*hrnet_pairs(""), *unit("last_layer", "decoder", inside=""), ("last_layer.3", "decoder.classifier")),
)
_OCR = Names(
    (
        *hrnet_pairs(""),
        *unit("aux_head", "decoder.regions.0", inside=""),
        ("aux_head.3", "decoder.regions.2"),
        *unit("conv3x3_ocr", "decoder.pixels", inside=""),
        *attention_pairs("ocr_distri_head"),
        ("cls_head", "decoder.classifier"),
    )
)


def detect(state: State) -> bool:
    """Whether this is HRNet with one of the two heads, with or without its prefix."""
    bare = _bare(state)
    return is_hrnet(bare, "") and ("last_layer.0.weight" in bare or "conv3x3_ocr.0.weight" in bare)


def read(state: State) -> Foreign:
    """HRNetV2 of any width, with its 1x1 head or OCR.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
    """
    bare = _bare(state)
    ocr = "conv3x3_ocr.0.weight" in bare
    backbone = hrnet_choice(bare, "")
    classifier = "cls_head" if ocr else "last_layer.3"
    num_classes = bare[f"{classifier}.weight"].shape[0]
    aligned = ocr or num_classes in _ALIGNED_CLASSES
    if ocr:
        sizes = widths("ocr_distri_head", bare["aux_head.0.weight"], bare)
        decoder = Choice(name="ocr", options={"aux_head": "conv1x1", "attention_bias": False, **sizes})
    else:
        decoder = Choice(name="concat", options={"head": "conv1x1"})
    notes = [] if ocr else [_ALIGNED if aligned else _UNALIGNED]
    if not inplace_norm.is_counted(bare):
        bare = inplace_norm.as_plain(bare)
        notes.append(inplace_norm.NOTE)
    return Foreign(
        family="hrnet",
        title=f"{TITLE}{'-OCR' if ocr else ''}, {hrnet_label(backbone)}",
        model=ModelSpec(backbone=backbone, decoder=decoder, align_corners=aligned),
        num_classes=num_classes,
        tensors=(_OCR if ocr else _PLAIN).ours(bare),
        dropped=tuple(name for name in state if name.startswith(_LOSS)),
        notes=tuple(notes),
        protocol=_LONG_520 if num_classes in _SMALL_IMAGES else _WHOLE,
    )


def write(state: State, model: ModelSpec) -> dict[str, Tensor]:
    """The way back, as the project's test program loads it: it cuts ``model.`` off whatever the names are.

    Args:
        state: tensors of a `Segmentor`.
        model: the network that they belong to.

    Raises:
        InvalidFault: the official HRNet does not have this network.
    """
    if model.backbone.name != "hrnetv2" or model.decoder.name not in ("concat", "ocr"):
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench could write.",
            next="segbench weights convert --help",
        )
    written = (_OCR if model.decoder.name == "ocr" else _PLAIN).theirs(state, title=TITLE)
    ours = with_aux_channels(model, state)
    check_same_network(read(written).model, ours, title=TITLE, settings=("align_corners",))
    return {f"{_NETWORK}{name}": tensor for name, tensor in written.items()}


def _bare(state: State) -> dict[str, Tensor]:
    """The network's tensors without their prefix."""
    return {name.removeprefix(_NETWORK): tensor for name, tensor in state.items() if not name.startswith(_LOSS)}
