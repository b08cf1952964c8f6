"""Options of supervised training."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from segbench.core.micro_batch import group_sizes
from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import StreamNames, setting
from segbench.losses.class_weights import resolve_class_weights

from .extra_options import ExtraLoss

Factor = Annotated[float, Field(ge=0)]


class HardPixels(BaseOptions):
    """Online hard example mining: the cross-entropy counts only pixels whose true class is improbable.

    Their least number is a share, so that it shrinks with crop and batch. To convert a published number, divide it by
    the pixels that it refers to: 100000 of a GPU's two crops of 769x769 are a share of 0.0845507.
    """

    threshold: float = setting(0.7, gt=0, le=1, description="pixels below this probability of the true class count")
    min_share: float = setting(
        0.0, ge=0, le=1, description="share of the pixels, labelled or not, that count at least: the least probable"
    )
    on: Literal["main", "all"] = setting("main", description="the final logits alone, or the auxiliary ones too")
    images_per_group: int | None = setting(
        None, gt=0, description="images that min_share is of, those of one GPU in the releases; None: the batch"
    )


class Options(BaseOptions):
    """Cross-entropy on the final and the auxiliary logits, and a further loss on the final ones."""

    # There is nothing to shrink: it has no heads and keeps no features.
    SMALL = {}
    SMOKE = {}

    class_weights: str | tuple[float, ...] | None = setting(
        None, description="weights of the classes in the cross-entropy, or the name of published ones"
    )
    ce_weight: float = setting(1.0, ge=0, description="factor of the cross-entropy on the final logits")
    aux_weight: Factor | dict[str, Factor] = setting(
        0.4, description="factor of the cross-entropy of each auxiliary head, or one for each by its name"
    )
    loss_at: Literal["labels", "logits"] = setting(
        "labels", description="whether logits are enlarged to the labels or labels shrunk to the logits"
    )
    aux_loss_at: Literal["labels", "logits"] | None = setting(
        None, description="the same for the auxiliary logits; None: as the final ones"
    )
    ohem: HardPixels | None = setting(None, description="which pixels the cross-entropy counts; None: all labelled")
    extra_loss: ExtraLoss | None = setting(None, description="a loss beside the cross-entropy")
    streams: StreamNames = setting(("labelled",), description="streams that are joined to one batch")

    def across_images_of(self, images: int) -> dict[str, tuple[int, ...]]:
        found = super().across_images_of(images)
        if self.ohem is not None:
            found["hard pixels"] = group_sizes(images, self.ohem.images_per_group)
        if self.extra_loss is not None and self.extra_loss.group is not None:
            group = self.extra_loss.group
            found[self.extra_loss.title] = group_sizes(images, None if group == "batch" else group)
        return found

    @field_validator("class_weights")
    @classmethod
    def _known(cls, value: str | tuple[float, ...] | None) -> str | tuple[float, ...] | None:
        weights = resolve_class_weights(value)
        if weights is not None and not all(weight >= 0 for weight in weights):
            raise ValueError("class weights must not be negative")
        return value
