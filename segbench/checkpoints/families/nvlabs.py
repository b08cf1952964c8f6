"""SegFormer in its authors' code (NVlabs/SegFormer, commit 65fa8cf): ``linear_c1`` to ``linear_c4``, one head.

Its encoder has segbench's names. Beside its classifier, ``linear_pred``, a file holds one that is never computed,
``conv_seg``.
"""

from torch import Tensor

from segbench.core.spec import ModelSpec

from ..family import Family, ForeignCheckpoint, Metadata, StateDict
from ..layouts.equality import check_same_network
from ..layouts.layer_forms import as_convolution, as_linear
from ..layouts.mm_metadata import apply_metadata, parse_metadata
from ..layouts.packing import with_meta
from ..layouts.renaming import ModuleNames
from ..layouts.segformer import ASSUMED, PROJECTIONS, segformer_checkpoint, segformer_explicit
from ..layouts.stages import STAGES, check_architecture, expand_stages

TITLE = "NVlabs"

_HEAD = "decode_head."
_UNUSED = f"{_HEAD}conv_seg."
_NAMES = ModuleNames(
    (
        ("backbone", "backbone"),
        *expand_stages([(f"{_HEAD}linear_c{{number}}.proj", "decoder.projections.{stage}")], (1,) * STAGES),
        (f"{_HEAD}linear_fuse.conv", "decoder.fuse.conv"),
        (f"{_HEAD}linear_fuse.bn", "decoder.fuse.norm"),
        (f"{_HEAD}linear_pred", "decoder.classifier"),
    )
)


def detect(state: StateDict) -> bool:
    """Return True for a SegFormer of its authors."""
    return "backbone.patch_embed1.proj.weight" in state and f"{_HEAD}linear_fuse.conv.weight" in state


def read(state: StateDict) -> ForeignCheckpoint:
    """Read SegFormer of any size.

    Raises:
        KeyError: a tensor that identifies the network is missing.
        InvalidFault: its channels do not divide among heads as the published ones' do.
    """
    dropped = tuple(name for name in state if name.startswith(_UNUSED))
    kept = {name: tensor for name, tensor in state.items() if name not in set(dropped)}
    tensors = as_convolution(_NAMES.to_segbench(kept), PROJECTIONS)
    classes = state[f"{_HEAD}linear_pred.weight"].shape[0]
    return segformer_checkpoint(tensors, classes, family="nvlabs", title=TITLE, variant="nv", dropped=dropped)


def refine(checkpoint: ForeignCheckpoint, metadata: Metadata) -> ForeignCheckpoint:
    """Apply the configuration and the class names that the file states."""
    return apply_metadata(checkpoint, parse_metadata(metadata["meta"]), assumed=ASSUMED)


def write(state: StateDict, model: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors under the project's names, the inverse of `read`.

    The classifier that is never computed is left out; ``align_corners`` is a setting of its configurations.

    Args:
        state: tensors of a `Segmentor`.
        model: the network of these tensors.

    Raises:
        InvalidFault: the authors' code does not have this network.
    """
    check_architecture(model, backbone="mit", decoder="segformer", title=TITLE)
    written = _NAMES.from_segbench(as_linear(state, PROJECTIONS), title=TITLE)
    theirs, ours = segformer_explicit(read(written).model), segformer_explicit(model)
    check_same_network(theirs, ours, title=TITLE, settings=("align_corners",))
    return written


FAMILY = Family(
    name="nvlabs",
    title=TITLE,
    detect=detect,
    read=read,
    refine=refine,
    write=write,
    pack=with_meta,
    state_keys=("state_dict",),
    metadata_keys=("meta",),
)
