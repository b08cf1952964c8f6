"""``SegformerForSemanticSegmentation``: names of the published files, and those of version 5 in memory.

Queries, keys and values are three layers, projections of the head are linear, and all layer norms have one epsilon.
"""

from typing import Any

from torch import Tensor

from segbench.checkpoints.foreign.family import State
from segbench.checkpoints.foreign.layer_forms import as_convolution, as_linear, join, split
from segbench.checkpoints.foreign.mix_transformer import PROJECTIONS, segformer_depths
from segbench.checkpoints.foreign.renaming import Names, Pair
from segbench.checkpoints.foreign.stages import depths_of, encoder_options, written_out
from segbench.core.spec import ModelSpec
from segbench.models.backbones.mit.options import Options
from segbench.models.decoders.segformer.options import Options as HeadOptions

_FUSION = "decode_head.linear_fuse.weight"
_PUBLISHED_BLOCKS = "segformer.encoder.block.{stage}."
_BLOCKS = "segformer.stages.{stage}.blocks."
_OURS = "backbone.block{number}.{block}."
_HEAD: list[Pair] = [
    ("decode_head.linear_fuse", "decoder.fuse.conv"),
    ("decode_head.batch_norm", "decoder.fuse.norm"),
    ("decode_head.classifier", "decoder.classifier"),
]
_PUBLISHED: list[Pair] = [
    ("segformer.encoder.patch_embeddings.{stage}.proj", "backbone.patch_embed{number}.proj"),
    ("segformer.encoder.patch_embeddings.{stage}.layer_norm", "backbone.patch_embed{number}.norm"),
    *(
        (f"{_PUBLISHED_BLOCKS}{{block}}.{theirs}", f"{_OURS}{ours}")
        for theirs, ours in (
            ("layer_norm_1", "norm1"),
            ("attention.self.query", "attn.q"),
            ("attention.self.kv", "attn.kv"),
            ("attention.self.sr", "attn.sr"),
            ("attention.self.layer_norm", "attn.norm"),
            ("attention.output.dense", "attn.proj"),
            ("layer_norm_2", "norm2"),
            ("mlp.dense1", "mlp.fc1"),
            ("mlp.dwconv", "mlp.dwconv"),
            ("mlp.dense2", "mlp.fc2"),
        )
    ),
    ("segformer.encoder.layer_norm.{stage}", "backbone.norm{number}"),
    ("decode_head.linear_c.{stage}.proj", "decoder.projections.{stage}"),
    *_HEAD,
]
_VERSION_5: list[Pair] = [
    ("segformer.stages.{stage}.patch_embeddings.proj", "backbone.patch_embed{number}.proj"),
    ("segformer.stages.{stage}.patch_embeddings.layer_norm", "backbone.patch_embed{number}.norm"),
    *(
        (f"{_BLOCKS}{{block}}.{theirs}", f"{_OURS}{ours}")
        for theirs, ours in (
            ("layernorm_before", "norm1"),
            ("attention.q_proj", "attn.q"),
            ("attention.kv", "attn.kv"),
            ("attention.sequence_reduction.sequence_reduction", "attn.sr"),
            ("attention.sequence_reduction.layer_norm", "attn.norm"),
            ("attention.o_proj", "attn.proj"),
            ("layernorm_after", "norm2"),
            ("mlp", "mlp"),
        )
    ),
    ("segformer.stages.{stage}.layer_norm", "backbone.norm{number}"),
    ("decode_head.linear_projections.{stage}.proj", "decoder.projections.{stage}"),
    *_HEAD,
]


def detect(state: State) -> bool:
    """Whether this is a SegFormer with its head."""
    return _FUSION in state and any(name.startswith("segformer.") for name in state)


def to_ours(state: State) -> dict[str, Tensor]:
    """All tensors under segbench's names, in its forms.

    Raises:
        KeyError: a stage or a part of an attention is missing.
        InvalidFault: parts of an attention do not fit together.
    """
    published = any(name.startswith("segformer.encoder.") for name in state)
    pairs = written_out(
        _PUBLISHED if published else _VERSION_5, depths_of(state, _PUBLISHED_BLOCKS if published else _BLOCKS)
    )
    joined = join(state, ("key", "value") if published else ("k_proj", "v_proj"), "kv")
    return as_convolution(Names(pairs).ours(joined), PROJECTIONS)


def from_ours(state: State, model: ModelSpec, *, title: str) -> dict[str, Tensor]:
    """The way back, to the names of the published files, which every version reads.

    Raises:
        InvalidFault: a tensor has no place there.
    """
    names = Names(written_out(_PUBLISHED, segformer_depths(model)))
    return split(names.theirs(as_linear(state, PROJECTIONS), title=title), "kv", ("key", "value"))


def configuration(model: ModelSpec) -> dict[str, Any]:
    """What ``SegformerConfig`` wants to know of the network, as JSON has it."""
    options = encoder_options(Options, model)
    head = HeadOptions.model_validate(model.decoder.options)
    shape = options.shape()
    return {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        "num_channels": 3,
        "num_encoder_blocks": len(shape.depths),
        "depths": list(shape.depths),
        "hidden_sizes": list(shape.widths),
        "num_attention_heads": list(shape.heads),
        "sr_ratios": list(options.reductions),
        "patch_sizes": list(options.patch_sizes),
        "strides": list(options.strides),
        "mlp_ratios": [options.mlp_ratio] * len(shape.depths),
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout_prob": 0.1 if head.dropout is None else head.dropout,
        "drop_path_rate": options.drop_path,
        "decoder_hidden_size": head.channels,
        "reshape_last_stage": True,
        "semantic_loss_ignore_index": 255,
    }
