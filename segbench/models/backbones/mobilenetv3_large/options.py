"""Options of a MobileNetV3-Large. The defaults are timm's, which trained the ImageNet weights.

torchvision's has ``bn_eps: 1e-3, bn_momentum: 0.01``, and in its DeepLabV3 ``output_stride: 16, dilation: full``.
"""

from segbench.models.backbones.mobilenet_options import MobileNetOptions


class Options(MobileNetOptions):
    SMALL = {"width": 0.35}
    SMOKE = {"width": 0.25}

    def label(self) -> str:
        """Return ``MobileNetV3-Large``, with its width if that is not 1."""
        return self.named("MobileNetV3-Large")
