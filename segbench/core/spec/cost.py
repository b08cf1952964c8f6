"""The count of parameters and multiply-adds."""

from typing import Literal

from .base import Size, Spec, setting


class CostSpec(Spec):
    """Parameters and multiply-adds of a network at one input size."""

    input: Size
    num_classes: int = setting(gt=0)
    rule: Literal["thop"] = "thop"
