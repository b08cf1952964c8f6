"""``SegformerForSemanticSegmentation``: names of the published files, and those of version 5's modules.

Queries, keys and values are three layers, projections of the head are linear, and all layer norms have one epsilon.
"""

from typing import Any

from torch import Tensor

from segbench.checkpoints.family import StateDict
from segbench.checkpoints.layouts.layer_forms import as_convolution, as_linear, join_linears, split_linears
from segbench.checkpoints.layouts.renaming import ModuleNames, Pair
from segbench.checkpoints.layouts.segformer import PROJECTIONS, segformer_depths
from segbench.checkpoints.layouts.stages import encoder_options, expand_stages, stage_depths
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


def detect(state: StateDict) -> bool:
    """Return True for a SegFormer with its head."""
    return _FUSION in state and any(name.startswith("segformer.") for name in state)


def to_segbench(state: StateDict) -> dict[str, Tensor]:
    """Return all tensors under segbench's names and in its forms.

    Raises:
        KeyError: a stage or a layer of an attention is missing.
        InvalidFault: layers of an attention do not fit together.
    """
    published = any(name.startswith("segformer.encoder.") for name in state)
    pairs = expand_stages(
        _PUBLISHED if published else _VERSION_5, stage_depths(state, _PUBLISHED_BLOCKS if published else _BLOCKS)
    )
    joined = join_linears(state, ("key", "value") if published else ("k_proj", "v_proj"), "kv")
    return as_convolution(ModuleNames(pairs).to_segbench(joined), PROJECTIONS)


def from_segbench(state: StateDict, model: ModelSpec, *, title: str) -> dict[str, Tensor]:
    """Return the tensors under the names of the published files, which every version reads.

    Raises:
        InvalidFault: a tensor is in no module of transformers.
    """
    names = ModuleNames(expand_stages(_PUBLISHED, segformer_depths(model)))
    return split_linears(names.from_segbench(as_linear(state, PROJECTIONS), title=title), "kv", ("key", "value"))


def configuration(model: ModelSpec) -> dict[str, Any]:
    """Return the fields of ``SegformerConfig`` for the network, as plain data."""
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
