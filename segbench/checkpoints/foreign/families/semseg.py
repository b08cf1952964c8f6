"""PSPNet as its author's PyTorch code has it (hszhao/semseg, commit 4f274c3).

``layer0`` is the deep stem in a row, ``ppm.features`` the pyramid, ``cls`` the head and ``aux`` the auxiliary
classifier, which is there if the file was saved while training. All blocks of a dilated stage have its dilation.
Sides of an input must be ``8 k + 1`` there; images are cut into windows that are, mirrored one by one, and their
probabilities averaged (tool/test.py).
"""

from math import ceil

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec

from ..dilated_resnet import described, is_resnet, resnet_options
from ..equality import check_same_network
from ..family import Foreign, State
from ..renaming import Names

TITLE = "semseg"

_MARK = "ppm.features.0.1.weight"
_CITYSCAPES_CLASSES = 19
_WINDOW = {_CITYSCAPES_CLASSES: 713, 21: 473, 150: 473}  # by number of classes (config/*/*_pspnet*.yaml)
_LONG_SIDE = 512  # of images of VOC 2012 and ADE20K
_SIDES = (
    "The project gives it sides of 8 k + 1 alone, as the windows of its own scoring have; segbench takes others too, "
    "and answers a little otherwise there than at its windows."
)
_UNKNOWN = "With {classes} classes it is of none of the project's data sets; taken to be scored as those of VOC 2012."

_NAMES = Names(
    (
        ("layer0", "backbone.conv1"),
        ("layer0.7", "backbone.bn1"),
        *((f"layer{stage}", f"backbone.layer{stage}") for stage in (1, 2, 3, 4)),
        *(
            pair
            for k in range(4)
            for pair in (
                (f"ppm.features.{k}.1", f"decoder.pyramid.branches.{k}.conv"),
                (f"ppm.features.{k}.2", f"decoder.pyramid.branches.{k}.norm"),
            )
        ),
        ("cls.0", "decoder.conv.conv"),
        ("cls.1", "decoder.conv.norm"),
        ("cls.4", "decoder.classifier"),
        ("aux.0", "decoder.auxiliary.conv.conv"),
        ("aux.1", "decoder.auxiliary.conv.norm"),
        ("aux.4", "decoder.auxiliary.classifier"),
    )
)


def detect(state: State) -> bool:
    """Whether this is PSPNet of that code."""
    return is_resnet(state, "") and _MARK in state and "layer0.0.weight" in state


def read(state: State) -> Foreign:
    """PSPNet with or without its auxiliary classifier.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
    """
    num_classes = state["cls.4.weight"].shape[0]
    channels = state["cls.0.weight"].shape[0]
    options: dict[str, object] = {} if channels == 512 else {"channels": channels}
    if any(name.startswith("aux.") for name in state):
        aux_channels = state["aux.0.weight"].shape[0]
        options |= {"auxiliary": True, "aux_dropout": 0.1}
        options |= {} if aux_channels == 256 else {"aux_channels": aux_channels}
    found = resnet_options(state, "")
    backbone = {**found, "stem": "deep", "output_stride": 8, "dilation": "full"}
    unknown = () if num_classes in _WINDOW else (_UNKNOWN.format(classes=num_classes),)
    return Foreign(
        family="semseg",
        title=f"{TITLE} PSPNet, {described(found)} with a deep stem",
        model=ModelSpec(
            backbone=Choice(name="resnet", options=backbone),
            decoder=Choice(name="pspnet", options=options),
            align_corners=True,
        ),
        num_classes=num_classes,
        tensors=_NAMES.ours(state),
        notes=(_SIDES, *unknown),
        protocol=_protocol(num_classes),
    )


def write(state: State, model: ModelSpec) -> dict[str, Tensor]:
    """The way back, under the ``module.`` without which the project's test program takes no tensor, saying nothing.

    Args:
        state: tensors of a `Segmentor`.
        model: the network that they belong to.

    Raises:
        InvalidFault: the project does not have this network.
    """
    if (model.backbone.name, model.decoder.name) != ("resnet", "pspnet"):
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench could write.",
            next="segbench weights convert --help",
        )
    written = _NAMES.theirs(state, title=TITLE)
    check_same_network(read(written).model, model, title=TITLE)
    return {f"module.{name}": tensor for name, tensor in written.items()}


def _protocol(num_classes: int) -> dict[str, object]:
    """Windows with a stride of two thirds, the project's scoring at one scale."""
    side = _WINDOW.get(num_classes, _WINDOW[21])
    stride = ceil(side * 2 / 3)
    long_side = {} if num_classes == _CITYSCAPES_CLASSES else {"short_side": _LONG_SIDE, "max_side": _LONG_SIDE}
    return {
        "mode": "slide",
        "window": (side, side),
        "stride": (stride, stride),
        "overlap": "probabilities",
        "flip": True,
        "mirror": "window",
        "pad": {"to_window": True, "where": "both"},
        **long_side,
    }
