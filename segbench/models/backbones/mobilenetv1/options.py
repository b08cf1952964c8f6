"""Options of a MobileNetV1. The defaults are timm's, which trained the ImageNet weights.

An old state of ContrastiveSeg's release has ``bn_eps: 1e-3`` and ``padding: right-bottom``, unlike those weights.
"""

from typing import Literal

from segbench.core.spec import setting
from segbench.models.backbones.mobilenet_options import MobileNetOptions


class Options(MobileNetOptions):
    SMALL = {"width": 0.25}
    SMOKE = {"width": 0.125}

    padding: Literal["symmetric", "right-bottom"] = setting(
        "symmetric",
        description="of convolutions with stride 2: one row and column on every side, or at the right and the bottom "
        "alone, as TensorFlow pads even sizes; odd sizes are then halved rounding down",
    )

    def label(self) -> str:
        """Return ``MobileNetV1``, with its width if that is not 1."""
        return self.named("MobileNetV1")
