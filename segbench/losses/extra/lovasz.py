"""Lovász-softmax as an extra loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from segbench.core.spec import setting
from segbench.losses.options import GroupLossOptions

if TYPE_CHECKING:
    from torch import Tensor


class Options(GroupLossOptions):
    """Lovász-softmax."""

    title: ClassVar[str] = "Lovász-softmax"

    classes: Literal["present", "all"] = setting("present", description="which classes the mean is over")


def loss(logits: Tensor, target: Tensor, options: Options) -> Tensor:
    """Return the Lovász-softmax loss of one group."""
    from segbench.losses.lovasz import lovasz_softmax

    return lovasz_softmax(logits, target, classes=options.classes)
