"""Options of HANet's decoder.

The defaults are the released code's (network/deepv3.py, network/HANet.py and scripts/train_r101_os8_hanet.sh, commit
656bedc) for ResNet-101 at output stride 8. Its author confirms a reduction of 64.
"""

from typing import Annotated, Literal

from pydantic import Field

from segbench.core.spec import setting
from segbench.models.decoders.settings import AuxiliaryOptions

Rate = Annotated[int, Field(ge=1)]
Unit = Literal["stage4", "aspp", "bottleneck", "decoder"]


class Options(AuxiliaryOptions):
    SMALL = {"channels": 48, "low_channels": 24, "aux_channels": 48, "reduction": 16}
    SMOKE = {"channels": 32, "low_channels": 16, "aux_channels": 32, "reduction": 8}

    rates: tuple[Rate, ...] = setting((12, 24, 36), description="dilations of the pyramid")
    channels: int = setting(256, gt=0, description="channels of each branch and after it")
    low_channels: int = setting(48, gt=0, description="channels that the finest layer is reduced to")
    auxiliary: bool = setting(True, description="whether there is one; it is computed in training only")
    aux_channels: int = setting(512, gt=0, description="channels of its 3x3 convolution")
    aux_bias: bool = setting(True, description="whether its 3x3 convolution has a bias")
    aux_dropout: float = setting(0.1, ge=0, lt=1, description="probability of dropping before its classifier")
    units: tuple[Unit, ...] = setting(
        ("stage4", "aspp", "bottleneck", "decoder"), description="the maps whose channels are gated by height"
    )
    slots: int = setting(16, ge=1, description="heights that are told apart")
    reduction: int = setting(64, ge=1, description="channels of the map that a unit reads over those inside of it")
    unit_dropout: float = setting(0.1, ge=0, lt=1, description="probability of dropping a channel that a unit reads")
    position_noise: float = setting(
        0.5, ge=0, description="standard deviation, in slots, of what is added to positions in training"
    )
    unit_weight_decay: float | None = setting(1e-4, ge=0, description="of the units; None: the schedule's")

    def label(self) -> str:
        """Return ``HANet``."""
        return "HANet"
