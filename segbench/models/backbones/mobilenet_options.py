"""Options of all MobileNets."""

from typing import Literal

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting


class MobileNetOptions(BaseOptions):
    """Options of all MobileNets."""

    output_stride: Literal[8, 16, 32] = setting(32, description="stages beyond it are dilated instead")
    dilation: Literal["contracted", "full", "first"] = setting(
        "contracted",
        description="the first block of a dilated stage has the dilation of the stage before, or its own; "
        "first: its own, and the blocks after it none (mmsegmentation)",
    )
    bn_eps: float = setting(1e-5, gt=0)
    bn_momentum: float = setting(0.1, gt=0, le=1)
    width: float = setting(1.0, ge=0.125, le=4, description="multiplies all channels")

    def named(self, network: str) -> str:
        """Return the network's name, with its width if that is not 1."""
        return network if self.width == 1 else f"{network}-{self.width:g}"
