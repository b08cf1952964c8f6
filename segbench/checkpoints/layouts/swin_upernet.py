"""UPerNet on Swin by its tensors, under segbench's names; and its names in MMSegmentation's style.

Swin's authors, MMSegmentation and Hugging Face have the same network. All three name UPerNet's modules alike, except
batch norms and classifiers.
"""

from math import isqrt
from typing import Any, get_args

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec
from segbench.models.backbones.swin.options import Options
from segbench.models.backbones.swin.window import relative_positions

from ..family import ForeignCheckpoint, StateDict
from .renaming import Pair
from .resnet import count_modules
from .stages import STAGES, encoder_options, with_explicit_stages

INDEX = "relative_position_index"
UPERNET = "decode_head.fpn_bottleneck.conv.weight"

# Logits are resized to the network's input and then to the image, as by MMSegmentation's EncoderDecoder.
_WHOLE: dict[str, object] = {"mode": "whole", "enlarge": "twice"}
_TABLE = "relative_position_bias_table"
_BINS = 4
_ADE20K = 150
_SHORT_512 = "Its classes are those of ADE20K: images are shown at a short side of 512 and a long one of at most 2048."

ASSUMED = (_SHORT_512,)  # notes on an assumed evaluation


def upernet_model(tensors: StateDict) -> ModelSpec:
    """Return the network with its sizes.

    Args:
        tensors: under segbench's names.

    Raises:
        KeyError: a tensor that identifies it is missing.
        InvalidFault: its pyramid or its windows are not supported.
    """
    bins = count_modules(tensors, "decoder.pooling.branches.")
    if bins != _BINS:
        raise InvalidFault(f"It pools to {bins} grids; segbench reads those of four.", next="segbench list")
    channels = tensors["decoder.fuse.conv.weight"].shape[0]
    decoder = {} if channels == 512 else {"channels": channels}
    return ModelSpec(
        backbone=Choice(name="swin", options=_encoder(tensors)),
        decoder=Choice(name="upernet", options={**decoder, **_auxiliary(tensors)}),
    )


def upernet_label(model: ModelSpec) -> str:
    """Return e.g. ``UPerNet, Swin-T``, with the windows if they are not 7x7."""
    options = _options(model)
    if not options.label().endswith("-small"):
        return f"UPerNet, {options.label()}"
    windows = "" if options.window == 7 else f", windows of {options.window}x{options.window}"
    return f"UPerNet, Swin of {options.shape().embed} channels in the first stage{windows}"


def upernet_pairs(*, norm: str, classifier: str) -> tuple[Pair, ...]:
    """Return the names of the modules of UPerNet, theirs and ours.

    Args:
        norm: name of a batch norm, beside ``conv``.
        classifier: name of a classifier.
    """
    levels = range(STAGES - 1)
    units = [
        *((f"psp_modules.{number}.1", f"pooling.branches.{number}") for number in range(_BINS)),
        ("bottleneck", "bottleneck"),
        *((f"lateral_convs.{level}", f"lateral.{level}") for level in levels),
        *((f"fpn_convs.{level}", f"smooth.{level}") for level in levels),
        ("fpn_bottleneck", "fuse"),
    ]
    both = [*((f"decode_head.{theirs}", ours) for theirs, ours in units), ("auxiliary_head.convs.0", "auxiliary.conv")]
    return (
        *((f"{theirs}.conv", f"decoder.{ours}.conv") for theirs, ours in both),
        *((f"{theirs}.{norm}", f"decoder.{ours}.norm") for theirs, ours in both),
        (f"decode_head.{classifier}", "decoder.classifier"),
        (f"auxiliary_head.{classifier}", "decoder.auxiliary.classifier"),
    )


def upernet_checkpoint(
    tensors: StateDict,
    num_classes: int,
    *,
    family: str,
    title: str,
    dropped: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> ForeignCheckpoint:
    """Return the checkpoint of an UPerNet on Swin.

    Args:
        tensors: under segbench's names.
        num_classes: outputs of its classifier.
        family: name of its family.
        title: name of the project.
        dropped: the file's names of tensors left out on purpose.
        notes: notes on all files of the project.

    Raises:
        KeyError, InvalidFault: as ``upernet_model``.
    """
    model = upernet_model(tensors)
    protocol, said = upernet_scoring(num_classes)
    return ForeignCheckpoint(
        family=family,
        title=f"{title} {upernet_label(model)}",
        model=model,
        num_classes=num_classes,
        tensors=dict(tensors),
        dropped=dropped,
        notes=(*said, *notes),
        protocol=protocol,
    )


def upernet_scoring(num_classes: int) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the projects' evaluation as fields of a spec, and notes on it."""
    if num_classes != _ADE20K:
        return dict(_WHOLE), ()
    return {**_WHOLE, "short_side": 512, "max_side": 2048}, (_SHORT_512,)


def upernet_explicit(model: ModelSpec) -> ModelSpec:
    """Return the network with its stages in numbers."""
    return with_explicit_stages(model, _options(model))


def swin_depths(model: ModelSpec) -> tuple[int, ...]:
    """Return the number of blocks of each stage."""
    return _options(model).shape().depths


def without_indices(state: StateDict) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return a file's tensors without the indices of position biases, which the windows determine, and their names."""
    dropped = tuple(name for name in state if name.endswith(f".{INDEX}"))
    return {name: tensor for name, tensor in state.items() if name not in set(dropped)}, dropped


def with_indices(written: StateDict) -> dict[str, Tensor]:
    """Return a project's tensors with the indices of position biases beside each table of them."""
    found = dict(written)
    for name, table in written.items():
        if name.endswith(f".{_TABLE}"):
            found[f"{name.removesuffix(_TABLE)}{INDEX}"] = relative_positions(_window(table))
    return found


def _options(model: ModelSpec) -> Options:
    return encoder_options(Options, model)


def _encoder(tensors: StateDict) -> dict[str, Any]:
    """Return the options of the backbone ``swin`` that differ from its defaults."""
    tables = [tensors[f"backbone.layers.{stage}.blocks.0.attn.{_TABLE}"] for stage in range(STAGES)]
    embed = tensors["backbone.patch_embed.proj.weight"].shape[0]
    depths = tuple(count_modules(tensors, f"backbone.layers.{stage}.blocks.") for stage in range(STAGES))
    found = {**_size(embed, depths, tuple(table.shape[1] for table in tables)), "window": _window(tables[0])}
    usual = Options().model_dump()
    return {name: value for name, value in found.items() if usual[name] != value}


def _size(embed: int, depths: tuple[int, ...], heads: tuple[int, ...]) -> dict[str, Any]:
    for size in get_args(Options.model_fields["size"].annotation):
        if Options(size=size).shape() == (embed, depths, heads):
            return {"size": size}
    return {"embed": embed, "depths": depths, "heads": heads}


def _window(table: Tensor) -> int:
    """Return the side w of the windows of a table of position biases, which has (2w - 1)^2 rows."""
    side = isqrt(table.shape[0])
    if side**2 != table.shape[0] or side % 2 == 0:
        raise InvalidFault(f"Its position biases are {table.shape[0]}, of no square window.", next="segbench list")
    return (side + 1) // 2


def _auxiliary(tensors: StateDict) -> dict[str, Any]:
    """Return the options of the auxiliary classifier, on the stage whose channels it reads."""
    if not any(name.startswith("decoder.auxiliary.") for name in tensors):
        return {"auxiliary": False}
    width, channels = tensors["decoder.auxiliary.conv.conv.weight"].shape[:2]
    stages = [tensors[f"backbone.norm{stage}.weight"].shape[0] for stage in range(STAGES)]
    layer = stages.index(channels) - STAGES if channels in stages else -2
    return {**({} if width == 256 else {"aux_channels": width}), **({} if layer == -2 else {"aux_layer": layer})}
