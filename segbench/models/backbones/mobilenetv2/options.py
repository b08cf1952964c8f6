"""Options of a MobileNetV2. The defaults are the paper's, without its last convolution.

mmsegmentation's DeepLabV3 takes 320 channels at ``output_stride: 8, dilation: first``; the release of ContrastiveSeg
takes 1280 at stride 32, with ``last_conv: true``.
"""

from segbench.core.spec import setting
from segbench.models.backbones.mobilenet_options import MobileNetOptions


class Options(MobileNetOptions):
    SMALL = {"width": 0.35}
    SMOKE = {"width": 0.25}

    last_conv: bool = setting(
        False, description="whether the coarsest layer passes the last 1x1 convolution, to 1280 channels times width"
    )

    def label(self) -> str:
        """Return ``MobileNetV2``, with its width if that is not 1."""
        return self.named("MobileNetV2")
