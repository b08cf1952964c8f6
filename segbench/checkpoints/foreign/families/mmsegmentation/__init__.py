"""MMSegmentation's networks (versions 0.x and 1.x): PSPNet, DeepLabV3(+), HRNet, OCRNet; SegFormer, UPerNet on Swin.

The names of its modules (``backbone``, ``decode_head``, ``auxiliary_head``) say which network a file is of; what lies
in a module follows from the shapes. Its transformers are laid out otherwise: see ``transformers``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from segbench.checkpoints.foreign.equality import check_same_network
from segbench.checkpoints.foreign.family import Foreign, State
from segbench.checkpoints.foreign.object_context import with_aux_channels
from segbench.checkpoints.foreign.renaming import Names
from segbench.checkpoints.foreign.stated import read_words, settled
from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec

from . import transformers
from .backbones import backbone_names, is_known, read_backbone
from .configured import settled_model
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


def detect(state: State) -> bool:
    """Whether this is a network of MMSegmentation on a ResNet, HRNet, MobileNetV2, Mix Transformer or Swin."""
    # networks converted for transformers call the classifier otherwise
    heads = any(name.startswith("decode_head.") for name in state) and "decode_head.classifier.weight" not in state
    return heads and (is_known(state) or transformers.detect(state))


def read(state: State) -> Foreign:
    """Backbone and head by their names, sizes by their shapes; rates, strides and corners are those of its d8 files.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
        InvalidFault: segbench has no such network.
    """
    if transformers.detect(state):
        return transformers.read(state, title=TITLE)
    backbone = read_backbone(state)
    head = read_head(state, backbone.choice.name)
    model = ModelSpec(backbone=backbone.choice, decoder=head.choice)
    placed = head.choice.options.get("auxiliary", False)
    dropped = tuple(name for name in state if name.startswith(AUXILIARY) and not placed)
    return Foreign(
        family="mmsegmentation",
        title=f"{TITLE} {head.label}, {backbone.label}",
        model=model,
        num_classes=head.num_classes,
        tensors=_names(model).ours({name: state[name] for name in state if name not in dropped}),
        dropped=dropped,
        notes=(_SCORED, *([_ALIKE] if backbone.choice.name == "resnet" else [])),
        protocol={"mode": "whole", "enlarge": "twice"},
    )


def settle(foreign: Foreign, meta: Mapping[str, Any]) -> Foreign:
    """What shapes do not show, where the file's own configuration and class names state it.

    Args:
        foreign: as the tensors show it.
        meta: what lies beside them.

    Raises:
        InvalidFault: by its configuration segbench has no such network.
    """
    words = read_words(meta)
    model, more = settled_model(foreign.model, words.settings)
    known = bool(more) and words.align_corners is not None
    notes = tuple(note for note in foreign.notes if not (known and note == _ALIKE))
    assumed = (_SCORED, *transformers.ASSUMED)
    return settled(replace(foreign, model=model, notes=notes), words, assumed=assumed, more=more)


def write(state: State, model: ModelSpec) -> dict[str, Tensor]:
    """The way back, from segbench's names to MMSegmentation's; ``align_corners`` is a setting of its configurations.

    HRNets may fuse their branches otherwise than its own: both do the same where sides are multiples of 32.

    Args:
        state: tensors of a `Segmentor`.
        model: the network that they belong to.

    Raises:
        InvalidFault: MMSegmentation does not have this network.
    """
    if model.backbone.name in transformers.WRITERS:
        return transformers.WRITERS[model.backbone.name](state, model, title=TITLE)
    if model.backbone.name not in DECODERS.get(model.decoder.name, ()):
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench could write.",
            next="segbench weights convert --help",
        )
    written = _names(model).theirs(state, title=TITLE)
    theirs, ours = (with_aux_channels(each, state) for each in (read(written).model, model))
    check_same_network(theirs, ours, title=TITLE, settings=("align_corners", "backbone.fuse_resize"))
    return written


def _names(model: ModelSpec) -> Names:
    return Names((*backbone_names(model.backbone), *head_names(model.decoder.name)))
