"""A family of checkpoints: how one project wraps, names and describes the tensors of its networks. Free of torch.

A family never guesses a missing layer: tensors that it cannot place keep their names, and strict loading reports them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from segbench.core.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

StateDict = Mapping[str, "Tensor"]
Metadata = Mapping[str, Any]


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A recognised checkpoint of another project.

    Attributes:
        family: name of its family.
        title: the network in its project's words, e.g. ``official HRNet-OCR``.
        model: the network with the project's conventions: channel order, mean and std, align_corners.
        num_classes: outputs of the classifier.
        tensors: under segbench's names.
        dropped: the file's names of tensors left out on purpose, such as those of losses and projection heads.
        notes: what a user should know, one sentence each.
        protocol: the project's own evaluation: fields of an evaluation spec, e.g. ``{"mode": "slide", ...}``.
        classes: their names in the order of the outputs; empty where the file does not state them.
    """

    family: str
    title: str
    model: ModelSpec
    num_classes: int
    tensors: "dict[str, Tensor]"
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    protocol: dict[str, object] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Family:
    """Checkpoints of one project.

    In the functions, a state dict maps names to tensors, its wrappers and the prefixes of data-parallel training
    removed already.

    Attributes:
        name: as users type it, e.g. ``semiseg-coco``.
        title: the project's name in messages.
        detect: return True for tensors in the project's layout; look at names first, at shapes if need be.
        read: return the network and the tensors under segbench's names. A ``KeyError`` is reported as a missing tensor.
        refine: apply metadata to what `read` found, for what tensors cannot show; gets the entries of
            ``metadata_keys`` that the file has.
        write: return the tensors under the project's names, the inverse of `read`; None if it cannot be written.
        pack: return what ``torch.save`` writes so that the project's own programs load it, from the tensors and the
            names and colours of the classes; None for the bare tensors.
        weights_name: name of the weights in the folders that the project's programs load; empty if they load files.
        sidecars: return the text files beside the weights in such a folder, by name.
        lookalike_of: family whose files cannot be told from these; only the user can say that it is this one.
        state_keys: keys under which its files hold the state dict, the likeliest first.
        average_keys: keys under which its files hold a moving average of the weights.
        prefixes: prefixes of all tensor names that wrappers of the network leave behind.
        metadata_keys: keys of what its files state beside the tensors.
    """

    name: str
    title: str
    detect: Callable[[StateDict], bool]
    read: Callable[[StateDict], ForeignCheckpoint]
    refine: Callable[[ForeignCheckpoint, Metadata], ForeignCheckpoint] | None = None
    write: "Callable[[StateDict, ModelSpec], dict[str, Tensor]] | None" = None
    pack: "Callable[[dict[str, Tensor], Sequence[str], Sequence[Sequence[int]] | None], dict[str, Any]] | None" = None
    weights_name: str = ""
    sidecars: Callable[[ModelSpec, Sequence[str]], dict[str, str]] | None = None
    lookalike_of: str = ""
    state_keys: tuple[str, ...] = ()
    average_keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    metadata_keys: tuple[str, ...] = ()
