"""MMSegmentation's networks (versions 0.x and 1.x): PSPNet, DeepLabV3(+), HRNet, OCRNet; SegFormer, UPerNet on Swin.

The names of its modules (``backbone``, ``decode_head``, ``auxiliary_head``) identify the network; sizes follow from the
shapes. Its transformers have a layout of their own: see ``transformers``.
"""

from dataclasses import replace

from torch import Tensor

from segbench.checkpoints.family import Family, ForeignCheckpoint, Metadata, StateDict
from segbench.checkpoints.layouts.equality import check_same_network
from segbench.checkpoints.layouts.mm_metadata import apply_metadata, parse_metadata
from segbench.checkpoints.layouts.ocr import with_aux_channels
from segbench.checkpoints.layouts.packing import with_meta
from segbench.checkpoints.layouts.renaming import ModuleNames
from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec

from . import transformers
from .backbones import backbone_names, is_supported, read_backbone
from .configured import refine_model
from .heads import AUXILIARY, DECODERS, head_names, read_head

TITLE = "MMSegmentation"

_SCORED = (
    "It scores whole images: those of Cityscapes at their own size, those of ADE20K and VOC 2012 at a short side of "
    "512 and a long one of at most 2048; those of PASCAL-Context in windows of 480x480 every 320."
)
_ALIKE = (
    "Files trained on crops of 769x769 have align_corners true and windows of 769x769 every 513, and those named "
    "d16-mg124 have other strides and dilations. Their tensors do not show it; read as this network they score less."
)


def detect(state: StateDict) -> bool:
    """Return True for a network of MMSegmentation on a ResNet, HRNet, MobileNetV2, Mix Transformer or Swin."""
    # Networks converted for transformers have another name for the classifier.
    heads = any(name.startswith("decode_head.") for name in state) and "decode_head.classifier.weight" not in state
    return heads and (is_supported(state) or transformers.detect(state))


def read(state: StateDict) -> ForeignCheckpoint:
    """Read backbone and head by name, sizes by shape; rates, strides and corners are those of its d8 files.

    Raises:
        KeyError: a tensor that identifies the network is missing.
        InvalidFault: segbench has no such network.
    """
    if transformers.detect(state):
        return transformers.read(state, title=TITLE)
    backbone = read_backbone(state)
    head = read_head(state, backbone.choice.name)
    model = ModelSpec(backbone=backbone.choice, decoder=head.choice)
    placed = head.choice.options.get("auxiliary", False)
    dropped = tuple(name for name in state if name.startswith(AUXILIARY) and not placed)
    return ForeignCheckpoint(
        family="mmsegmentation",
        title=f"{TITLE} {head.label}, {backbone.label}",
        model=model,
        num_classes=head.num_classes,
        tensors=_names(model).to_segbench({name: state[name] for name in state if name not in dropped}),
        dropped=dropped,
        notes=(_SCORED, *([_ALIKE] if backbone.choice.name == "resnet" else [])),
        protocol={"mode": "whole", "enlarge": "twice"},
    )


def refine(checkpoint: ForeignCheckpoint, metadata: Metadata) -> ForeignCheckpoint:
    """Apply the configuration and the class names that the file states.

    Raises:
        InvalidFault: by its configuration segbench has no such network.
    """
    stated = parse_metadata(metadata["meta"])
    model, more = refine_model(checkpoint.model, stated.settings)
    known = bool(more) and stated.align_corners is not None
    notes = tuple(note for note in checkpoint.notes if not (known and note == _ALIKE))
    assumed = (_SCORED, *transformers.ASSUMED)
    return apply_metadata(replace(checkpoint, model=model, notes=notes), stated, assumed=assumed, more=more)


def write(state: StateDict, model: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors under MMSegmentation's names, the inverse of `read`.

    ``align_corners`` is a setting of its configurations. HRNets may fuse their branches in another way than its own;
    both agree where sides are multiples of 32.

    Args:
        state: tensors of a `Segmentor`.
        model: the network of these tensors.

    Raises:
        InvalidFault: MMSegmentation does not have this network.
    """
    if model.backbone.name in transformers.WRITERS:
        return transformers.WRITERS[model.backbone.name](state, model, title=TITLE)
    if model.backbone.name not in DECODERS.get(model.decoder.name, ()):
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench can write.",
            next="segbench weights convert --help",
        )
    written = _names(model).from_segbench(state, title=TITLE)
    theirs, ours = (with_aux_channels(each, state) for each in (read(written).model, model))
    check_same_network(theirs, ours, title=TITLE, settings=("align_corners", "backbone.fuse_resize"))
    return written


def _names(model: ModelSpec) -> ModuleNames:
    return ModuleNames((*backbone_names(model.backbone), *head_names(model.decoder.name)))


# ``ema_state_dict`` is the key of MMEngine's hook for moving averages.
FAMILY = Family(
    name="mmsegmentation",
    title=TITLE,
    detect=detect,
    read=read,
    refine=refine,
    write=write,
    pack=with_meta,
    state_keys=("state_dict",),
    average_keys=("ema_state_dict",),
    metadata_keys=("meta",),
)
