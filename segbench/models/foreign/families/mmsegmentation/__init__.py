"""MMSegmentation's convolutional networks (versions 0.x and 1.x): PSPNet, DeepLabV3(+), HRNet and OCRNet.

The names of its modules (``backbone``, ``decode_head``, ``auxiliary_head``) say which network a file is of; what lies in
a module follows from the shapes. Its transformers are laid out otherwise and are not read here.
"""

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec

from ...equality import check_same_network
from ...family import Foreign, State
from ...renaming import Names
from .backbones import backbone_kind, backbone_names, read_backbone
from .heads import AUXILIARY, DECODERS, head_names, read_head

TITLE = "MMSegmentation"

_SCORED = (
    "It scores whole images: those of Cityscapes at their own size, those of ADE20K and VOC 2012 at a short side of 512 "
    "and a long one of at most 2048; those of PASCAL-Context in windows of 480x480 every 320."
)
_ALIKE = (
    "Files trained on crops of 769x769 have align_corners true and windows of 769x769 every 513, and those named "
    "d16-mg124 have other strides and dilations: their tensors do not show it, and as this network they score less."
)


def detect(state: State) -> bool:
    """Whether this is a network of MMSegmentation on a ResNet, HRNet or MobileNetV2."""
    heads = [name for name in state if name.startswith("decode_head.")]
    # networks converted for transformers call the classifier otherwise
    return bool(heads) and "decode_head.classifier.weight" not in state and backbone_kind(state) is not None


def read(state: State) -> Foreign:
    """Backbone and head by their names, sizes by their shapes; rates, strides and corners are those of its d8 files.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
        InvalidFault: segbench has no such network.
    """
    backbone = read_backbone(state)
    head = read_head(state, backbone.choice.name)
    model = ModelSpec(backbone=backbone.choice, decoder=head.choice)
    dropped = () if head.choice.options.get("auxiliary") else tuple(n for n in state if n.startswith(AUXILIARY))
    return Foreign(
        family="mmsegmentation",
        title=f"{TITLE} {head.label}, {backbone.label}",
        model=model,
        num_classes=head.num_classes,
        tensors=_names(model).ours({name: state[name] for name in state if name not in set(dropped)}),
        dropped=dropped,
        notes=(_SCORED, _ALIKE) if backbone.choice.name == "resnet" else (_SCORED,),
        protocol={"mode": "whole"},
    )


def write(state: State, model: ModelSpec) -> dict[str, Tensor]:
    """The way back, from segbench's names to MMSegmentation's; ``align_corners`` is a setting of its configurations.

    Args:
        state: tensors of a `Segmentor`.
        model: the network that they belong to.

    Raises:
        InvalidFault: MMSegmentation does not have this network.
    """
    if model.decoder.name not in DECODERS or model.backbone.name not in DECODERS[model.decoder.name]:
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench could write.",
            next="segbench weights list",
        )
    written = _names(model).theirs(state, title=TITLE)
    check_same_network(read(written).model, model, title=TITLE, settings=("align_corners",))
    return written


def _names(model: ModelSpec) -> Names:
    return Names((*backbone_names(model.backbone), *head_names(model)))
