"""Contents of the checkpoint files that projects' own programs load."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def with_state_dict(
    tensors: dict[str, Tensor], classes: Sequence[str], colours: Sequence[Sequence[int]] | None
) -> dict[str, Any]:
    """Return the tensors under ``state_dict``; names and colours of the classes are left out."""
    return {"state_dict": tensors}


def with_meta(
    tensors: dict[str, Tensor], classes: Sequence[str], colours: Sequence[Sequence[int]] | None
) -> dict[str, Any]:
    """Return MMSegmentation's format: the tensors, and under ``meta`` names and colours of the classes.

    Args:
        tensors: under the project's names.
        classes: names in the order of the outputs.
        colours: RGB in 0..255 in the same order; None if there are none.
    """
    palette = {} if colours is None else {"PALETTE": [list(colour) for colour in colours]}
    return {"meta": {"CLASSES": list(classes), **palette}, "state_dict": tensors}
