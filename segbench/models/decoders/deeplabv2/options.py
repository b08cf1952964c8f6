"""Options of DeepLabV2's decoder.

The defaults are SemiSeg-Contrastive's (released code, model/deeplabv2.py, commit dc53c6d), whose forward pass returns
from within its loop after the second branch.
"""

from typing import Annotated, Literal

from pydantic import Field

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting

Rate = Annotated[int, Field(ge=1)]


class Options(BaseOptions):
    # There is nothing to shrink: it is a sum of classifiers without inner channels.
    SMALL = {}
    SMOKE = {}

    rates: tuple[Rate, ...] = setting((6, 12, 18, 24), min_length=1, description="dilations of the 3x3 classifiers")
    branches: Literal["released", "all"] = setting(
        "released", description="classifiers that are summed; released: the first two, the others are never trained"
    )

    def label(self) -> str:
        """Return ``DeepLabV2``, with the number of branches if all are summed."""
        return "DeepLabV2" if self.branches == "released" else f"DeepLabV2, {len(self.rates)} branches"
