"""SegFormer as its authors' code has it (NVlabs/SegFormer, commit 65fa8cf): ``linear_c1`` to ``linear_c4``, one head.

Its encoder's names are segbench's. Files hold a classifier that is never computed, ``conv_seg``, beside their own,
``linear_pred``.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segbench.core.spec import ModelSpec

from ..equality import check_same_network
from ..family import Foreign, State
from ..layer_forms import as_convolution, as_linear
from ..mix_transformer import ASSUMED, PROJECTIONS, segformer_of, segformer_spelled_out
from ..renaming import Names
from ..stages import STAGES, check_parts, written_out
from ..stated import read_words, settled

TITLE = "NVlabs"

_HEAD = "decode_head."
_UNUSED = f"{_HEAD}conv_seg."
_NAMES = Names(
    (
        ("backbone", "backbone"),
        *written_out([(f"{_HEAD}linear_c{{number}}.proj", "decoder.projections.{stage}")], (1,) * STAGES),
        (f"{_HEAD}linear_fuse.conv", "decoder.fuse.conv"),
        (f"{_HEAD}linear_fuse.bn", "decoder.fuse.norm"),
        (f"{_HEAD}linear_pred", "decoder.classifier"),
    )
)


def detect(state: State) -> bool:
    """Whether this is a SegFormer of its authors."""
    return "backbone.patch_embed1.proj.weight" in state and f"{_HEAD}linear_fuse.conv.weight" in state


def read(state: State) -> Foreign:
    """SegFormer with its sizes.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
        InvalidFault: its channels do not divide among heads as the published ones' do.
    """
    dropped = tuple(name for name in state if name.startswith(_UNUSED))
    kept = {name: tensor for name, tensor in state.items() if name not in set(dropped)}
    tensors = as_convolution(_NAMES.ours(kept), PROJECTIONS)
    classes = state[f"{_HEAD}linear_pred.weight"].shape[0]
    return segformer_of(tensors, classes, family="nvlabs", title=TITLE, variant="nv", dropped=dropped)


def settle(foreign: Foreign, meta: Mapping[str, Any]) -> Foreign:
    """What shapes do not show, where the file's own configuration and class names state it.

    Args:
        foreign: as the tensors show it.
        meta: what lies beside them.
    """
    return settled(foreign, read_words(meta), assumed=ASSUMED)


def write(state: State, model: ModelSpec) -> dict[str, Tensor]:
    """The way back, without the classifier that is never computed; ``align_corners`` is a setting of configurations.

    Args:
        state: tensors of a `Segmentor`.
        model: the network that they belong to.

    Raises:
        InvalidFault: the authors' code does not have this network.
    """
    check_parts(model, backbone="mit", decoder="segformer", title=TITLE)
    written = _NAMES.theirs(as_linear(state, PROJECTIONS), title=TITLE)
    theirs, ours = segformer_spelled_out(read(written).model), segformer_spelled_out(model)
    check_same_network(theirs, ours, title=TITLE, settings=("align_corners",))
    return written
