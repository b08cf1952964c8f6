"""Options of an Xception-71. The defaults are those of DeepLab's released code, which trains at stride 16.

Its normalisation keeps 0.9997 of the running statistics, which is a momentum of 3e-4 here; timm has 0.1.
"""

from typing import Literal

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting


class Options(BaseOptions):
    SMALL = {"width": 0.1875, "middle_blocks": 2}
    SMOKE = {"width": 0.125, "middle_blocks": 1}

    output_stride: Literal[8, 16, 32] = setting(16, description="blocks beyond it are dilated instead")
    eval_output_stride: Literal[8, 16, 32] | None = setting(
        None, description="the same in evaluation; None: as in training. A head's rates have to follow it"
    )
    bn_eps: float = setting(1e-3, gt=0)
    bn_momentum: float = setting(3e-4, gt=0, le=1)
    width: float = setting(1.0, ge=0.0625, le=4, description="multiplies all channels but the stem's")
    middle_blocks: int = setting(16, ge=1, description="blocks of the middle flow")

    def label(self) -> str:
        """Return ``D-Xception-71``, D for dilated; a network of another width or depth is labelled small."""
        small = self.width != 1 or self.middle_blocks != 16
        return f"{'D-' if self.output_stride < 32 else ''}Xception-71" + ("-small" if small else "")
