"""The OCR head as the official HRNet code and openseg name it (``SpatialOCR_Module``).

A convolution is followed by a module that holds batch norm and ReLU, so that the norm's name ends in ``.0``.
"""

from typing import Any

from torch import Tensor

from segbench.core.spec import Choice, ModelSpec

from .family import State
from .renaming import Pair


def unit(theirs: str, ours: str, *, first: int = 0, inside: str = ".0") -> tuple[Pair, Pair]:
    """A convolution, numbered ``first``, and the norm after it, which lies ``inside`` of the next module."""
    return (f"{theirs}.{first}", f"{ours}.conv"), (f"{theirs}.{first + 1}{inside}", f"{ours}.norm")


def attention_pairs(theirs: str, *, inside: str = ".0") -> tuple[Pair, ...]:
    """The attention and the fusion after it, of the module called ``theirs``."""
    block, ours = f"{theirs}.object_context_block", "decoder.attention"
    pairs: list[Pair] = []
    for part, own in (("f_pixel", "query"), ("f_object", "key")):
        for number in (0, 1):
            pairs += unit(f"{block}.{part}", f"{ours}.{own}.{number}", first=2 * number, inside=inside)
    for part, own in (("f_down", "value"), ("f_up", "out")):
        pairs += unit(f"{block}.{part}", f"{ours}.{own}", inside=inside)
    return (*pairs, *unit(f"{theirs}.conv_bn_dropout", "decoder.fuse", inside=inside))


def widths(attention: str, aux: Tensor, state: State) -> dict[str, Any]:
    """Channels as options of the decoder ``ocr``.

    Args:
        attention: name of the module with the attention.
        aux: weight of the first convolution of the soft regions' head.
        state: all tensors.

    Raises:
        KeyError: the module is not there.
    """
    channels = state[f"{attention}.conv_bn_dropout.0.weight"].shape[0]
    key_channels = state[f"{attention}.object_context_block.f_down.0.weight"].shape[0]
    return {
        **({} if channels == 512 else {"channels": channels}),
        **({} if key_channels == 256 else {"key_channels": key_channels}),
        "aux_channels": aux.shape[0],
    }


def with_aux_channels(model: ModelSpec, state: State) -> ModelSpec:
    """The same network, the width of its soft regions' head as a number; ``state`` has segbench's names."""
    if model.decoder.name != "ocr" or model.decoder.options.get("aux_channels") is not None:
        return model
    options = {**model.decoder.options, "aux_channels": state["decoder.regions.0.conv.weight"].shape[0]}
    return model.model_copy(update={"decoder": Choice(name="ocr", options=options)})
