"""The OCR head of the official HRNet code and of openseg (``SpatialOCR_Module``).

A convolution is followed by a module that holds batch norm and ReLU, so that the norm's name ends in ``.0``.
"""

from typing import Any

from torch import Tensor

from segbench.core.spec import Choice, ModelSpec

from ..family import StateDict
from .renaming import Pair


def conv_norm(theirs: str, ours: str, *, first: int = 0, inside: str = ".0") -> tuple[Pair, Pair]:
    """Return the names of a convolution, numbered ``first``, and of the norm ``inside`` the module after it."""
    return (f"{theirs}.{first}", f"{ours}.conv"), (f"{theirs}.{first + 1}{inside}", f"{ours}.norm")


def attention_pairs(theirs: str, *, inside: str = ".0") -> tuple[Pair, ...]:
    """Return the names of the attention and the fusion after it, in the module called ``theirs``."""
    block, ours = f"{theirs}.object_context_block", "decoder.attention"
    pairs: list[Pair] = []
    for layer, own in (("f_pixel", "query"), ("f_object", "key")):
        for number in (0, 1):
            pairs += conv_norm(f"{block}.{layer}", f"{ours}.{own}.{number}", first=2 * number, inside=inside)
    for layer, own in (("f_down", "value"), ("f_up", "out")):
        pairs += conv_norm(f"{block}.{layer}", f"{ours}.{own}", inside=inside)
    return (*pairs, *conv_norm(f"{theirs}.conv_bn_dropout", "decoder.fuse", inside=inside))


def ocr_options(attention: str, aux: Tensor, state: StateDict) -> dict[str, Any]:
    """Return the channels as options of the decoder ``ocr``.

    Args:
        attention: name of the module with the attention.
        aux: weight of the first convolution of the head of the soft regions.
        state: all tensors.

    Raises:
        KeyError: the module is missing.
    """
    channels = state[f"{attention}.conv_bn_dropout.0.weight"].shape[0]
    key_channels = state[f"{attention}.object_context_block.f_down.0.weight"].shape[0]
    return {
        **({} if channels == 512 else {"channels": channels}),
        **({} if key_channels == 256 else {"key_channels": key_channels}),
        "aux_channels": aux.shape[0],
    }


def with_aux_channels(model: ModelSpec, state: StateDict) -> ModelSpec:
    """Return the network with the width of the head of its soft regions stated; ``state`` has segbench's names."""
    if model.decoder.name != "ocr" or model.decoder.options.get("aux_channels") is not None:
        return model
    options = {**model.decoder.options, "aux_channels": state["decoder.regions.0.conv.weight"].shape[0]}
    return model.model_copy(update={"decoder": Choice(name="ocr", options=options)})
