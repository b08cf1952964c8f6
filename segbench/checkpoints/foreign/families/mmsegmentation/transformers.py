"""MMSegmentation's transformers (``mmseg/models/backbones/mit.py`` and ``swin.py``): SegFormer and UPerNet on Swin.

Its attention on reduced maps is PyTorch's, with queries, keys and values in one matrix, and the feed-forward networks
around it are 1x1 convolutions. Its Swin merges patches by `torch.nn.Unfold`, so that the four neighbours of a channel
lie beside each other, row by row; those of Swin's authors are four whole maps, column by column.
"""

import re

from torch import Tensor

from segbench.checkpoints.foreign.equality import check_same_network
from segbench.checkpoints.foreign.family import Foreign, State
from segbench.checkpoints.foreign.layer_forms import as_convolution, as_linear, join, split
from segbench.checkpoints.foreign.mix_transformer import ASSUMED as OF_SEGFORMER
from segbench.checkpoints.foreign.mix_transformer import (
    FEED_FORWARD,
    segformer_depths,
    segformer_of,
    segformer_spelled_out,
)
from segbench.checkpoints.foreign.renaming import Names, Pair
from segbench.checkpoints.foreign.shifted_windows import ASSUMED as OF_UPERNET
from segbench.checkpoints.foreign.shifted_windows import (
    UPERNET,
    swin_depths,
    upernet_of,
    upernet_pairs,
    upernet_spelled_out,
    with_indices,
    without_indices,
)
from segbench.checkpoints.foreign.stages import check_parts, depths_of, written_out
from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec

_MIT, _SWIN = "backbone.layers.0.0.projection.weight", "backbone.stages.0.blocks.0.attn.w_msa.qkv.weight"
_IN_PROJECTION = "in_proj"
# Beginnings of notes that say how a file is taken to be scored.
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
# Places of a 2x2 patch, row by row, in the order of Swin's authors, down first; the way back is the same.
_DOWN_FIRST = (0, 2, 1, 3)


def detect(state: State) -> bool:
    """Whether this is a network of MMSegmentation on a Mix Transformer or a Swin Transformer."""
    return (_MIT in state or _SWIN in state) and any(name.startswith("decode_head.") for name in state)


def read(state: State, *, title: str) -> Foreign:
    """SegFormer or UPerNet with its sizes.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
        InvalidFault: its head is another, or segbench has no such network.
    """
    return _read_segformer(state, title) if _MIT in state else _read_upernet(state, title)


def _write_segformer(state: State, model: ModelSpec, *, title: str) -> dict[str, Tensor]:
    """The way back of a SegFormer; ``align_corners`` is a setting of configurations.

    Raises:
        InvalidFault: MMSegmentation does not have this network.
    """
    check_parts(model, backbone="mit", decoder="segformer", title=title)
    named = _segformer_names(segformer_depths(model)).theirs(as_convolution(state, FEED_FORWARD), title=title)
    whole = join(split(named, "kv", ("k", "v")), ("q", "k", "v"), _IN_PROJECTION)
    written = {name.replace(f".{_IN_PROJECTION}.", f".{_IN_PROJECTION}_"): tensor for name, tensor in whole.items()}
    theirs = segformer_spelled_out(_read_segformer(written, title).model)
    check_same_network(theirs, segformer_spelled_out(model), title=title, settings=("align_corners",))
    return written


def _write_upernet(state: State, model: ModelSpec, *, title: str) -> dict[str, Tensor]:
    """The way back of an UPerNet on Swin; ``align_corners`` is a setting of configurations.

    Raises:
        InvalidFault: MMSegmentation does not have this network.
    """
    check_parts(model, backbone="swin", decoder="upernet", title=title)
    merging = {name: _by_channels(tensor) if _MERGING.fullmatch(name) else tensor for name, tensor in state.items()}
    written = with_indices(_upernet_names(swin_depths(model)).theirs(merging, title=title))
    theirs = upernet_spelled_out(_read_upernet(written, title).model)
    check_same_network(theirs, upernet_spelled_out(model), title=title, settings=("align_corners",))
    return written


def _read_segformer(state: State, title: str) -> Foreign:
    if "decode_head.fusion_conv.conv.weight" not in state:
        raise InvalidFault("The head on its Mix Transformer is not SegFormer's.", next="segbench list")
    whole = {name.replace(f".{_IN_PROJECTION}_", f".{_IN_PROJECTION}."): tensor for name, tensor in state.items()}
    parted = join(split(whole, _IN_PROJECTION, ("q", "k", "v")), ("k", "v"), "kv")
    named = _segformer_names(depths_of(state, "backbone.layers.{stage}.1.")).ours(parted)
    tensors = as_linear(named, FEED_FORWARD)
    classes = state["decode_head.conv_seg.weight"].shape[0]
    return segformer_of(tensors, classes, family="mmsegmentation", title=title, variant="mmseg")


def _read_upernet(state: State, title: str) -> Foreign:
    if UPERNET not in state:
        raise InvalidFault("The head on its Swin Transformer is not UPerNet.", next="segbench list")
    kept, dropped = without_indices(state)
    named = _upernet_names(depths_of(state, "backbone.stages.{stage}.blocks.")).ours(kept)
    tensors = {name: _by_places(tensor) if _MERGING.fullmatch(name) else tensor for name, tensor in named.items()}
    classes = state["decode_head.conv_seg.weight"].shape[0]
    return upernet_of(tensors, classes, family="mmsegmentation", title=title, dropped=dropped)


def _segformer_names(depths: tuple[int, ...]) -> Names:
    return Names(written_out(_SEGFORMER, depths))


def _upernet_names(depths: tuple[int, ...]) -> Names:
    return Names(written_out(_UPERNET, depths))


def _by_places(tensor: Tensor) -> Tensor:
    """The last axis, four neighbours of each channel as MMSegmentation has it, as four maps of all channels."""
    if tensor.shape[-1] % 4:
        return tensor  # strict loading names it
    return tensor.unflatten(-1, (-1, 4))[..., list(_DOWN_FIRST)].transpose(-1, -2).flatten(-2)


def _by_channels(tensor: Tensor) -> Tensor:
    """The inverse of `_by_places`."""
    return tensor.unflatten(-1, (4, -1))[..., list(_DOWN_FIRST), :].transpose(-1, -2).flatten(-2)


# By the backbone that stands for the network.
WRITERS = {"mit": _write_segformer, "swin": _write_upernet}
