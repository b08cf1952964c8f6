"""UPerNet in the code of Swin's authors (Swin-Transformer-Semantic-Segmentation, commit 87e6f90, MMSegmentation 0.11).

Its backbone has segbench's names; it also saves the indices of the position biases, which follow from the windows.
"""

from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec

from ..family import Family, ForeignCheckpoint, Metadata, StateDict
from ..layouts.equality import check_same_network
from ..layouts.mm_metadata import apply_metadata, parse_metadata
from ..layouts.packing import with_meta
from ..layouts.renaming import ModuleNames
from ..layouts.stages import check_architecture
from ..layouts.swin_upernet import (
    ASSUMED,
    UPERNET,
    upernet_checkpoint,
    upernet_explicit,
    upernet_pairs,
    with_indices,
    without_indices,
)

TITLE = "Swin Transformer"

_NAMES = ModuleNames((("backbone", "backbone"), *upernet_pairs(norm="bn", classifier="conv_seg")))


def detect(state: StateDict) -> bool:
    """Return True for one of MMSegmentation's heads on the authors' Swin."""
    head = any(name.startswith("decode_head.") for name in state)
    return head and "backbone.layers.0.blocks.0.attn.qkv.weight" in state


def read(state: StateDict) -> ForeignCheckpoint:
    """Read UPerNet of any size.

    Raises:
        KeyError: a tensor that identifies the network is missing.
        InvalidFault: it has another head.
    """
    if UPERNET not in state:
        raise InvalidFault("The head on its Swin Transformer is not UPerNet.", next="segbench list")
    kept, dropped = without_indices(state)
    tensors = _NAMES.to_segbench(kept)
    return upernet_checkpoint(
        tensors, state["decode_head.conv_seg.weight"].shape[0], family="swin", title=TITLE, dropped=dropped
    )


def refine(checkpoint: ForeignCheckpoint, metadata: Metadata) -> ForeignCheckpoint:
    """Apply the configuration and the class names that the file states."""
    return apply_metadata(checkpoint, parse_metadata(metadata["meta"]), assumed=ASSUMED)


def write(state: StateDict, model: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors under the project's names, the inverse of `read`.

    ``align_corners`` is a setting of its configurations.

    Args:
        state: tensors of a `Segmentor`.
        model: the network of these tensors.

    Raises:
        InvalidFault: the authors' code does not have this network.
    """
    check_architecture(model, backbone="swin", decoder="upernet", title=TITLE)
    written = with_indices(_NAMES.from_segbench(state, title=TITLE))
    theirs, ours = upernet_explicit(read(written).model), upernet_explicit(model)
    check_same_network(theirs, ours, title=TITLE, settings=("align_corners",))
    return written


FAMILY = Family(
    name="swin",
    title=TITLE,
    detect=detect,
    read=read,
    refine=refine,
    write=write,
    pack=with_meta,
    state_keys=("state_dict",),
    metadata_keys=("meta",),
)
