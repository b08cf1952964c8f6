"""``UperNetForSemanticSegmentation`` on Swin: names of the published files, and those of version 5's modules.

Queries, keys and values are three layers. Patches are merged in the order of Swin's authors.
"""

from typing import Any

from torch import Tensor

from segbench.checkpoints.family import StateDict
from segbench.checkpoints.layouts.layer_forms import join_linears, split_linears
from segbench.checkpoints.layouts.renaming import ModuleNames, Pair
from segbench.checkpoints.layouts.stages import encoder_options, expand_stages, stage_depths
from segbench.checkpoints.layouts.swin_upernet import swin_depths, upernet_pairs, with_indices
from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec
from segbench.models.backbones.swin.options import Options
from segbench.models.decoders.upernet.options import Options as HeadOptions

# A norm of version 5 after the last stage, beside those after each; it is never computed.
UNUSED = ("backbone.swin.layernorm.", "backbone.layernorm.")

_AUX_LAYER = -2  # the encoder layer that the auxiliary classifier reads there
_PUBLISHED_PREFIX = "backbone."
_PREFIX = "backbone.swin."
_BLOCKS = "encoder.layers.{stage}.blocks."
_OURS = "backbone.layers.{stage}.blocks.{block}."
_AROUND: list[Pair] = [
    ("embeddings.patch_embeddings.projection", "backbone.patch_embed.proj"),
    ("embeddings.norm", "backbone.patch_embed.norm"),
    ("encoder.layers.{stage}.downsample", "backbone.layers.{stage}.downsample"),
    (f"{_BLOCKS}{{block}}.layernorm_before", f"{_OURS}norm1"),
    (f"{_BLOCKS}{{block}}.layernorm_after", f"{_OURS}norm2"),
]
_PUBLISHED_INSIDE: list[Pair] = [
    ("attention.self", "attn"),
    ("attention.output.dense", "attn.proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
]
_INSIDE: list[Pair] = [
    ("attention.qkv", "attn.qkv"),
    ("attention.relative_position_bias", "attn"),
    ("attention.o_proj", "attn.proj"),
    ("mlp", "mlp"),
]


def detect(state: StateDict) -> bool:
    """Return True for an UPerNet on any backbone."""
    return "decode_head.fpn_bottleneck.batch_norm.weight" in state


def to_segbench(state: StateDict) -> dict[str, Tensor]:
    """Return all tensors under segbench's names, queries, keys and values joined.

    Raises:
        KeyError: a stage or a layer of an attention is missing.
        InvalidFault: it has another backbone than segbench reads, or layers of an attention do not fit together.
    """
    version_5 = f"{_PREFIX}embeddings.patch_embeddings.projection.weight" in state
    if not version_5 and f"{_PUBLISHED_PREFIX}{_BLOCKS.format(stage=0)}0.layernorm_before.weight" not in state:
        raise InvalidFault("The backbone under its UPerNet is not Swin.", next="segbench list")
    prefix = _PREFIX if version_5 else _PUBLISHED_PREFIX
    parts = ("q_proj", "k_proj", "v_proj") if version_5 else ("query", "key", "value")
    names = _names(stage_depths(state, f"{prefix}{_BLOCKS}"), prefix=prefix)
    return names.to_segbench(join_linears(state, parts, "qkv"))


def from_segbench(state: StateDict, model: ModelSpec, *, title: str) -> dict[str, Tensor]:
    """Return the tensors under the names of the published files, which every version reads.

    Raises:
        InvalidFault: a tensor is in no module of transformers.
    """
    named = _names(swin_depths(model), prefix=_PUBLISHED_PREFIX).from_segbench(state, title=title)
    return with_indices(split_linears(named, "qkv", ("query", "key", "value")))


def configuration(model: ModelSpec) -> dict[str, Any]:
    """Return the fields of ``UperNetConfig`` for the network, as plain data.

    Raises:
        InvalidFault: its auxiliary classifier reads another layer than transformers' does.
    """
    options = encoder_options(Options, model)
    head = HeadOptions.model_validate(model.decoder.options)
    shape = options.shape()
    if head.auxiliary and head.aux_layer != _AUX_LAYER:
        raise InvalidFault(
            f"The auxiliary classifier of transformers' UPerNet reads the last layer but one, not layer "
            f"{head.aux_layer} as here.",
            next="segbench weights convert --help",
        )
    return {
        "architectures": ["UperNetForSemanticSegmentation"],
        "model_type": "upernet",
        "backbone_config": {
            "model_type": "swin",
            "embed_dim": shape.embed,
            "depths": list(shape.depths),
            "num_heads": list(shape.heads),
            "window_size": options.window,
            "mlp_ratio": 4.0,
            "qkv_bias": True,
            "hidden_act": "gelu",
            "drop_path_rate": options.drop_path,
            "layer_norm_eps": 1e-5,
            "use_absolute_embeddings": False,
            "out_features": [f"stage{number}" for number in range(1, len(shape.depths) + 1)],
        },
        "hidden_size": head.channels,
        "pool_scales": list(head.bins),
        "use_auxiliary_head": head.auxiliary,
        "auxiliary_loss_weight": 0.4,
        "auxiliary_in_channels": shape.embed * 2 ** (len(shape.depths) + _AUX_LAYER),
        "auxiliary_channels": head.aux_channels,
        "auxiliary_num_convs": 1,
        "auxiliary_concat_input": False,
        "loss_ignore_index": 255,
    }


def _names(depths: tuple[int, ...], *, prefix: str) -> ModuleNames:
    inside = _INSIDE if prefix == _PREFIX else _PUBLISHED_INSIDE
    pairs = [*_AROUND, *((f"{_BLOCKS}{{block}}.{theirs}", f"{_OURS}{ours}") for theirs, ours in inside)]
    return ModuleNames(
        (
            *expand_stages([(f"{prefix}{theirs}", ours) for theirs, ours in pairs], depths),
            # In every version these lie outside the encoder and are numbered from 1.
            *expand_stages([("backbone.hidden_states_norms.stage{number}", "backbone.norm{stage}")], depths),
            *upernet_pairs(norm="batch_norm", classifier="classifier"),
        )
    )
