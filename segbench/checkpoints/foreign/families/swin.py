"""UPerNet as Swin's authors have it (Swin-Transformer-Semantic-Segmentation, commit 87e6f90, on MMSegmentation 0.11).

Its backbone's names are segbench's; it also saves the places of the position biases, which follow from the windows.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec

from ..equality import check_same_network
from ..family import Foreign, State
from ..renaming import Names
from ..shifted_windows import (
    ASSUMED,
    UPERNET,
    upernet_of,
    upernet_pairs,
    upernet_spelled_out,
    with_indices,
    without_indices,
)
from ..stages import check_parts
from ..stated import read_words, settled

TITLE = "Swin Transformer"

_NAMES = Names((("backbone", "backbone"), *upernet_pairs(norm="bn", classifier="conv_seg")))


def detect(state: State) -> bool:
    """Whether this is a network of MMSegmentation's heads on the authors' Swin."""
    head = any(name.startswith("decode_head.") for name in state)
    return head and "backbone.layers.0.blocks.0.attn.qkv.weight" in state


def read(state: State) -> Foreign:
    """UPerNet with its sizes.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
        InvalidFault: its head is another.
    """
    if UPERNET not in state:
        raise InvalidFault("The head on its Swin Transformer is not UPerNet.", next="segbench list")
    kept, dropped = without_indices(state)
    tensors = _NAMES.ours(kept)
    return upernet_of(
        tensors, state["decode_head.conv_seg.weight"].shape[0], family="swin", title=TITLE, dropped=dropped
    )


def settle(foreign: Foreign, meta: Mapping[str, Any]) -> Foreign:
    """What shapes do not show, where the file's own configuration and class names state it.

    Args:
        foreign: as the tensors show it.
        meta: what lies beside them.
    """
    return settled(foreign, read_words(meta), assumed=ASSUMED)


def write(state: State, model: ModelSpec) -> dict[str, Tensor]:
    """The way back; ``align_corners`` is a setting of configurations.

    Args:
        state: tensors of a `Segmentor`.
        model: the network that they belong to.

    Raises:
        InvalidFault: the authors' code does not have this network.
    """
    check_parts(model, backbone="swin", decoder="upernet", title=TITLE)
    written = with_indices(_NAMES.theirs(state, title=TITLE))
    theirs, ours = upernet_spelled_out(read(written).model), upernet_spelled_out(model)
    check_same_network(theirs, ours, title=TITLE, settings=("align_corners",))
    return written
