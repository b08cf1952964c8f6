"""Region mutual information as an extra loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from segbench.core.spec import setting
from segbench.losses.options import GroupLossOptions

if TYPE_CHECKING:
    from torch import Tensor


class Options(GroupLossOptions):
    """Region mutual information and a binary cross-entropy."""

    title: ClassVar[str] = "region mutual information"

    bce_weight: float = setting(0.5, ge=0, description="factor of the binary cross-entropy")
    rmi_weight: float = setting(0.5, ge=0, description="factor of the mutual information")
    radius: int = setting(3, ge=1, description="side of the windows")
    pool: Literal["max", "mean"] = setting("max", description="how maps are shrunk first")
    pool_size: int = setting(3, ge=1, description="side and stride of that; 1: not at all")
    regularisation: float = setting(1e-3, gt=0, description="alpha, added to the diagonals")


def loss(logits: Tensor, target: Tensor, options: Options) -> Tensor:
    """Return the weighted sum of binary cross-entropy and region mutual information of one group."""
    from segbench.losses.rmi import binary_cross_entropy, region_mutual_information

    information = region_mutual_information(
        logits,
        target,
        side=options.radius,
        pool=options.pool,
        pool_size=options.pool_size,
        alpha=options.regularisation,
    )
    return options.bce_weight * binary_cross_entropy(logits, target) + options.rmi_weight * information
