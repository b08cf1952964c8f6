"""Adaptive affinity fields as an extra loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from segbench.core.spec import setting
from segbench.losses.options import GroupLossOptions

if TYPE_CHECKING:
    from torch import nn


class Options(GroupLossOptions):
    """Adaptive affinity fields."""

    title: ClassVar[str] = "affinity fields"

    margin: float = setting(3.0, gt=0, description="divergence across an edge from which there is no loss")
    edge_weight: float = setting(1.0, ge=0, description="factor of the losses on edges")
    non_edge_weight: float = setting(1.0, ge=0, description="factor of the losses elsewhere")
    fields: tuple[Annotated[int, Field(ge=3)], ...] = setting(
        (3, 5, 7), min_length=1, description="sides of the windows whose 8 outer pixels are neighbours"
    )
    field_weights: Literal["learned"] | Annotated[float, Field(ge=0)] = setting(
        "learned", description="of each window: a class's shares of 1, by gradient ascent; or the same for all"
    )
    final_share: float = setting(
        0.1, gt=0, description="what is left of its factor at the last step; exponential in between"
    )
    at: Literal["logits", "labels"] = setting("logits", description="at whose resolution")

    @field_validator("fields")
    @classmethod
    def _odd(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(side % 2 for side in value):
            raise ValueError("a window around a pixel has an odd side")
        return value

    @property
    def resolution(self) -> Literal["logits", "labels"]:
        return self.at

    def factor(self, progress: float) -> float:
        return self.weight * self.final_share**progress


def build(options: Options, *, num_classes: int) -> nn.Module:
    """Return the loss of one group as a module, which learns the weights of the fields if the options say so."""
    from segbench.losses.aaf import AdaptiveAffinityLoss

    return AdaptiveAffinityLoss(
        num_classes=num_classes,
        sides=options.fields,
        margin=options.margin,
        edge_weight=options.edge_weight,
        non_edge_weight=options.non_edge_weight,
        field_weights=options.field_weights,
    )
