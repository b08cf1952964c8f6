"""Names of networks of Hugging Face's transformers 5 in this project's.

Queries, keys and values are separate there and joined here: `_joined` says from which parts.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Rules = tuple[tuple[str, str], ...]

UNIT: Rules = ((r"\.batch_norm\.", ".norm."),)
SWIN: Rules = (
    (r"^backbone\.swin\.embeddings\.patch_embeddings\.projection", "backbone.patch_embed.proj"),
    (r"^backbone\.swin\.embeddings\.norm", "backbone.patch_embed.norm"),
    (r"^backbone\.swin\.encoder\.", "backbone."),
    (r"attention\.relative_position_bias\.", "attention."),
    (r"attention\.o_proj", "attn.proj"),
    (r"attention\.", "attn."),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    *((rf"^backbone\.hidden_states_norms\.stage{stage + 1}", f"backbone.norm{stage}") for stage in range(4)),
)
UPERNET: Rules = (
    (r"^decode_head\.psp_modules\.(\d)\.1", r"decoder.pooling.branches.\1"),
    (r"^decode_head\.lateral_convs", "decoder.lateral"),
    (r"^decode_head\.fpn_convs", "decoder.smooth"),
    (r"^decode_head\.fpn_bottleneck", "decoder.fuse"),
    (r"^decode_head\.", "decoder."),
    (r"^auxiliary_head\.convs\.0", "decoder.auxiliary.conv"),
    (r"^auxiliary_head\.", "decoder.auxiliary."),
)
SEGFORMER: Rules = (
    *(
        rule
        for stage in range(4)
        for rule in (
            (rf"^segformer\.stages\.{stage}\.patch_embeddings\.layer_norm", f"backbone.patch_embed{stage + 1}.norm"),
            (rf"^segformer\.stages\.{stage}\.patch_embeddings", f"backbone.patch_embed{stage + 1}"),
            (rf"^segformer\.stages\.{stage}\.blocks", f"backbone.block{stage + 1}"),
            (rf"^segformer\.stages\.{stage}\.layer_norm", f"backbone.norm{stage + 1}"),
        )
    ),
    (r"attention\.sequence_reduction\.sequence_reduction", "attn.sr"),
    (r"attention\.sequence_reduction\.layer_norm", "attn.norm"),
    (r"attention\.o_proj", "attn.proj"),
    (r"attention\.q_proj", "attn.q"),
    (r"attention\.", "attn."),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"^decode_head\.linear_projections\.(\d)\.proj", r"decoder.projections.\1"),
    (r"^decode_head\.linear_fuse", "decoder.fuse.conv"),
    (r"^decode_head\.batch_norm", "decoder.fuse.norm"),
    (r"^decode_head\.", "decoder."),
)


def upernet_swin(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of ``UperNetForSemanticSegmentation`` on Swin as that of backbone ``swin`` with decoder ``upernet``."""
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("backbone.swin.layernorm.")}
    return _joined(_renamed(kept, (*SWIN, *UPERNET, *UNIT)), ("q_proj", "k_proj", "v_proj"), "qkv")


def segformer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of ``SegformerForSemanticSegmentation`` as that of backbone ``mit`` with decoder ``segformer``."""
    named = _joined(_renamed(state, SEGFORMER), ("k_proj", "v_proj"), "kv")
    # a linear layer there, a 1x1 convolution here
    return {
        name: tensor[..., None, None] if re.match(r"decoder\.projections\.\d\.weight", name) else tensor
        for name, tensor in named.items()
    }


def _renamed(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    return found


def _joined(state: Mapping[str, Tensor], parts: tuple[str, ...], whole: str) -> dict[str, Tensor]:
    """``parts`` concatenated along the first axis under the name ``whole``."""
    found = {}
    for name, tensor in state.items():
        *path, part, kind = name.split(".")
        if part not in parts:
            found[name] = tensor
        elif part == parts[0]:
            pieces = [state[".".join([*path, piece, kind])] for piece in parts]
            found[".".join([*path, whole, kind])] = torch.cat(pieces)
    return found
