"""Options of ACFNet's decoder.

The module is the paper's (arXiv 1909.09408, section 3, recalled, not re-read). Widths and dropouts are those of an
unofficial code (zrl4836/ACFNet, commit ceba02e), whose module is another one; the 512 channels of a branch are recalled
of the paper too.
"""

from typing import Annotated

from pydantic import Field

from segbench.core.spec import setting
from segbench.models.decoders.settings import AuxiliaryOptions

Rate = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Options(AuxiliaryOptions):
    SMALL = {"channels": 48, "center_channels": 48, "fine_channels": 64, "aux_channels": 48}
    SMOKE = {"channels": 32, "center_channels": 32, "fine_channels": 48, "aux_channels": 32}

    rates: tuple[Rate, ...] = setting((12, 24, 36), description="dilations at output stride 8")
    channels: int = setting(512, gt=0, description="channels of each branch and of the coarse head")
    coarse_dropout: tuple[Probability, Probability] = setting(
        (0.5, 0.1), description="probability of dropping a channel after either layer of the coarse head"
    )
    center_channels: int = setting(512, gt=0, description="channels of a class's centre and of what pixels take of it")
    center_dropout: float = setting(0.2, ge=0, lt=1, description="of the features that the centres are means of")
    fine_channels: int = setting(1024, gt=0, description="channels of the fine head")
    fine_dropout: float = setting(0.1, ge=0, lt=1, description="before its classifier")
    fine_slope: float = setting(0.01, ge=0, lt=1, description="slope below 0 of its activation")
    auxiliary: bool = setting(True, description="whether there is a classifier on an inner layer, in training only")
    aux_dropout: float = setting(0.1, ge=0, lt=1, description="probability of dropping before that classifier")

    def label(self) -> str:
        """Return ``ACFNet``."""
        return "ACFNet"
