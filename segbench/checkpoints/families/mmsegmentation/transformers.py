"""MMSegmentation's transformers (``mmseg/models/backbones/mit.py`` and ``swin.py``): SegFormer and UPerNet on Swin.

Its attention on reduced maps is PyTorch's, with queries, keys and values in one matrix, and its feed-forward networks
are 1x1 convolutions. Its Swin merges patches with `torch.nn.Unfold`, so that the four neighbours of a channel are
adjacent, row by row; in the code of Swin's authors they are four whole maps, column by column.
"""

import re

from torch import Tensor

from segbench.checkpoints.family import ForeignCheckpoint, StateDict
from segbench.checkpoints.layouts.equality import check_same_network
from segbench.checkpoints.layouts.layer_forms import as_convolution, as_linear, join_linears, split_linears
from segbench.checkpoints.layouts.renaming import ModuleNames, Pair
from segbench.checkpoints.layouts.segformer import ASSUMED as OF_SEGFORMER
from segbench.checkpoints.layouts.segformer import (
    FEED_FORWARD,
    segformer_checkpoint,
    segformer_depths,
    segformer_explicit,
)
from segbench.checkpoints.layouts.stages import check_architecture, expand_stages, stage_depths
from segbench.checkpoints.layouts.swin_upernet import ASSUMED as OF_UPERNET
from segbench.checkpoints.layouts.swin_upernet import (
    UPERNET,
    swin_depths,
    upernet_checkpoint,
    upernet_explicit,
    upernet_pairs,
    with_indices,
    without_indices,
)
from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec

_MIT, _SWIN = "backbone.layers.0.0.projection.weight", "backbone.stages.0.blocks.0.attn.w_msa.qkv.weight"
_IN_PROJECTION = "in_proj"
# Beginnings of notes on an assumed evaluation.
ASSUMED = (*OF_SEGFORMER, *OF_UPERNET)
_SEGFORMER: list[Pair] = [
    ("backbone.layers.{stage}.0.projection", "backbone.patch_embed{number}.proj"),
    ("backbone.layers.{stage}.0.norm", "backbone.patch_embed{number}.norm"),
    *(
        (f"backbone.layers.{{stage}}.1.{{block}}.{theirs}", f"backbone.block{{number}}.{{block}}.{ours}")
        for theirs, ours in (
            ("norm1", "norm1"),
            ("attn.attn.q", "attn.q"),
            ("attn.attn.kv", "attn.kv"),
            ("attn.attn.out_proj", "attn.proj"),
            ("attn.sr", "attn.sr"),
            ("attn.norm", "attn.norm"),
            ("norm2", "norm2"),
            ("ffn.layers.0", "mlp.fc1"),
            ("ffn.layers.1", "mlp.dwconv.dwconv"),
            ("ffn.layers.4", "mlp.fc2"),
        )
    ),
    ("backbone.layers.{stage}.2", "backbone.norm{number}"),
    ("decode_head.convs.{stage}.conv", "decoder.projections.{stage}.conv"),
    ("decode_head.convs.{stage}.bn", "decoder.projections.{stage}.norm"),
    ("decode_head.fusion_conv.conv", "decoder.fuse.conv"),
    ("decode_head.fusion_conv.bn", "decoder.fuse.norm"),
    ("decode_head.conv_seg", "decoder.classifier"),
]
_UPERNET: list[Pair] = [
    ("backbone.patch_embed.projection", "backbone.patch_embed.proj"),
    ("backbone.patch_embed.norm", "backbone.patch_embed.norm"),
    *(
        (f"backbone.stages.{{stage}}.blocks.{{block}}.{theirs}", f"backbone.layers.{{stage}}.blocks.{{block}}.{ours}")
        for theirs, ours in (
            ("norm1", "norm1"),
            ("attn.w_msa", "attn"),
            ("norm2", "norm2"),
            ("ffn.layers.0.0", "mlp.fc1"),
            ("ffn.layers.1", "mlp.fc2"),
        )
    ),
    ("backbone.stages.{stage}.downsample", "backbone.layers.{stage}.downsample"),
    ("backbone.norm{stage}", "backbone.norm{stage}"),
    *upernet_pairs(norm="bn", classifier="conv_seg"),
]
_MERGING = re.compile(r"backbone\.layers\.\d+\.downsample\.(reduction|norm)\.(weight|bias)")
# Positions of a 2x2 patch, row by row, in the order of Swin's authors, down first; it is its own inverse.
_DOWN_FIRST = (0, 2, 1, 3)


def detect(state: StateDict) -> bool:
    """Return True for a network of MMSegmentation on a Mix Transformer or a Swin Transformer."""
    return (_MIT in state or _SWIN in state) and any(name.startswith("decode_head.") for name in state)


def read(state: StateDict, *, title: str) -> ForeignCheckpoint:
    """Read SegFormer or UPerNet of any size.

    Raises:
        KeyError: a tensor that identifies the network is missing.
        InvalidFault: it has another head, or segbench has no such network.
    """
    return _read_segformer(state, title) if _MIT in state else _read_upernet(state, title)


def _write_segformer(state: StateDict, model: ModelSpec, *, title: str) -> dict[str, Tensor]:
    """Return the tensors of a SegFormer under the project's names; ``align_corners`` is a setting of configurations.

    Raises:
        InvalidFault: MMSegmentation does not have this network.
    """
    check_architecture(model, backbone="mit", decoder="segformer", title=title)
    named = _segformer_names(segformer_depths(model)).from_segbench(as_convolution(state, FEED_FORWARD), title=title)
    whole = join_linears(split_linears(named, "kv", ("k", "v")), ("q", "k", "v"), _IN_PROJECTION)
    written = {name.replace(f".{_IN_PROJECTION}.", f".{_IN_PROJECTION}_"): tensor for name, tensor in whole.items()}
    theirs = segformer_explicit(_read_segformer(written, title).model)
    check_same_network(theirs, segformer_explicit(model), title=title, settings=("align_corners",))
    return written


def _write_upernet(state: StateDict, model: ModelSpec, *, title: str) -> dict[str, Tensor]:
    """Return the tensors of an UPerNet on Swin under its names; ``align_corners`` is a setting of configurations.

    Raises:
        InvalidFault: MMSegmentation does not have this network.
    """
    check_architecture(model, backbone="swin", decoder="upernet", title=title)
    merging = {name: _by_channel(tensor) if _MERGING.fullmatch(name) else tensor for name, tensor in state.items()}
    written = with_indices(_upernet_names(swin_depths(model)).from_segbench(merging, title=title))
    theirs = upernet_explicit(_read_upernet(written, title).model)
    check_same_network(theirs, upernet_explicit(model), title=title, settings=("align_corners",))
    return written


def _read_segformer(state: StateDict, title: str) -> ForeignCheckpoint:
    if "decode_head.fusion_conv.conv.weight" not in state:
        raise InvalidFault("The head on its Mix Transformer is not SegFormer's.", next="segbench list")
    whole = {name.replace(f".{_IN_PROJECTION}_", f".{_IN_PROJECTION}."): tensor for name, tensor in state.items()}
    parted = join_linears(split_linears(whole, _IN_PROJECTION, ("q", "k", "v")), ("k", "v"), "kv")
    named = _segformer_names(stage_depths(state, "backbone.layers.{stage}.1.")).to_segbench(parted)
    tensors = as_linear(named, FEED_FORWARD)
    classes = state["decode_head.conv_seg.weight"].shape[0]
    return segformer_checkpoint(tensors, classes, family="mmsegmentation", title=title, variant="mmseg")


def _read_upernet(state: StateDict, title: str) -> ForeignCheckpoint:
    if UPERNET not in state:
        raise InvalidFault("The head on its Swin Transformer is not UPerNet.", next="segbench list")
    kept, dropped = without_indices(state)
    named = _upernet_names(stage_depths(state, "backbone.stages.{stage}.blocks.")).to_segbench(kept)
    tensors = {name: _by_position(tensor) if _MERGING.fullmatch(name) else tensor for name, tensor in named.items()}
    classes = state["decode_head.conv_seg.weight"].shape[0]
    return upernet_checkpoint(tensors, classes, family="mmsegmentation", title=title, dropped=dropped)


def _segformer_names(depths: tuple[int, ...]) -> ModuleNames:
    return ModuleNames(expand_stages(_SEGFORMER, depths))


def _upernet_names(depths: tuple[int, ...]) -> ModuleNames:
    return ModuleNames(expand_stages(_UPERNET, depths))


def _by_position(tensor: Tensor) -> Tensor:
    """Reorder the last axis from MMSegmentation's four neighbours of each channel to four maps of all channels."""
    if tensor.shape[-1] % 4:
        return tensor  # strict loading reports it
    return tensor.unflatten(-1, (-1, 4))[..., list(_DOWN_FIRST)].transpose(-1, -2).flatten(-2)


def _by_channel(tensor: Tensor) -> Tensor:
    """Invert `_by_position`."""
    return tensor.unflatten(-1, (4, -1))[..., list(_DOWN_FIRST), :].transpose(-1, -2).flatten(-2)


# By the backbone, which identifies the network.
WRITERS = {"mit": _write_segformer, "swin": _write_upernet}
