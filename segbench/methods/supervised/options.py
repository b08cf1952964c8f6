"""What supervised training can be told."""

from typing import Literal

from pydantic import field_validator

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting
from segbench.losses.class_weights import resolve_class_weights

from .extra_options import ExtraLoss


class Options(BaseOptions):
    """Cross-entropy on the final and the auxiliary logits, and a further loss on the final ones."""

    class_weights: str | tuple[float, ...] | None = setting(
        None, description="weights of the classes in the cross-entropy, or the name of published ones"
    )
    ce_weight: float = setting(1.0, ge=0, description="factor of the cross-entropy on the final logits")
    aux_weight: float = setting(0.4, ge=0, description="factor of the cross-entropy of each auxiliary head")
    loss_at: Literal["labels", "logits"] = setting(
        "labels", description="whether logits are enlarged to the labels or labels shrunk to the logits"
    )
    extra_loss: ExtraLoss | None = setting(None, description="a loss beside the cross-entropy")

    @field_validator("class_weights")
    @classmethod
    def _known(cls, value: str | tuple[float, ...] | None) -> str | tuple[float, ...] | None:
        weights = resolve_class_weights(value)
        if weights is not None and not all(weight >= 0 for weight in weights):
            raise ValueError("class weights must not be negative")
        return value
