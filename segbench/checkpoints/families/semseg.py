"""PSPNet in its author's PyTorch code (hszhao/semseg, commit 4f274c3).

``layer0`` is the deep stem as one sequence, ``ppm.features`` the pyramid, ``cls`` the head and ``aux`` the auxiliary
classifier, which a file saved in training mode has. All blocks of a dilated stage have its dilation.
Sides of an input must be ``8 k + 1`` there; images are cut into windows that are, mirrored one by one, and their
probabilities averaged (tool/test.py).
"""

from math import ceil

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec

from ..family import Family, ForeignCheckpoint, StateDict
from ..layouts.equality import check_same_network
from ..layouts.packing import with_state_dict
from ..layouts.renaming import ModuleNames
from ..layouts.resnet import is_resnet, resnet_label, resnet_options

TITLE = "semseg"

_MARK = "ppm.features.0.1.weight"
_CITYSCAPES_CLASSES = 19
_WINDOW = {_CITYSCAPES_CLASSES: 713, 21: 473, 150: 473}  # by number of classes (config/*/*_pspnet*.yaml)
_LONG_SIDE = 512  # of images of VOC 2012 and ADE20K
_SIDES = (
    "The project only gives it sides of 8 k + 1, as the windows of its own evaluation have; segbench takes others too, "
    "and its scores differ a little there from those at its windows."
)
_UNKNOWN = "With {classes} classes it is of none of the project's data sets; taken to be scored as those of VOC 2012."

_NAMES = ModuleNames(
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


def detect(state: StateDict) -> bool:
    """Return True for PSPNet of that code."""
    return is_resnet(state, "") and _MARK in state and "layer0.0.weight" in state


def read(state: StateDict) -> ForeignCheckpoint:
    """Read PSPNet with or without its auxiliary classifier.

    Raises:
        KeyError: a tensor that identifies the network is missing.
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
    return ForeignCheckpoint(
        family="semseg",
        title=f"{TITLE} PSPNet, {resnet_label(found)} with a deep stem",
        model=ModelSpec(
            backbone=Choice(name="resnet", options=backbone),
            decoder=Choice(name="pspnet", options=options),
            align_corners=True,
        ),
        num_classes=num_classes,
        tensors=_NAMES.to_segbench(state),
        notes=(_SIDES, *unknown),
        protocol=_protocol(num_classes),
    )


def write(state: StateDict, model: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors under the project's names, the inverse of `read`.

    All have the prefix ``module.``; without it the project's test program silently loads no tensor.

    Args:
        state: tensors of a `Segmentor`.
        model: the network of these tensors.

    Raises:
        InvalidFault: the project does not have this network.
    """
    if (model.backbone.name, model.decoder.name) != ("resnet", "pspnet"):
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench can write.",
            next="segbench weights convert --help",
        )
    written = _NAMES.from_segbench(state, title=TITLE)
    check_same_network(read(written).model, model, title=TITLE)
    return {f"module.{name}": tensor for name, tensor in written.items()}


def _protocol(num_classes: int) -> dict[str, object]:
    """Return the project's evaluation at one scale: windows with a stride of two thirds."""
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


FAMILY = Family(
    name="semseg", title=TITLE, detect=detect, read=read, write=write, pack=with_state_dict, state_keys=("state_dict",)
)
