"""What a MobileNetV1 can be told. The defaults are timm's, which trained the ImageNet weights.

The release of ContrastiveSeg has ``bn_eps: 1e-3`` and pads strided convolutions at the right and bottom alone, as
TensorFlow does; no source says that its table does, and the ImageNet weights were not trained so.
"""

from segbench.models.backbones.mobilenet_options import MobileNetOptions


class Options(MobileNetOptions):
    def label(self) -> str:
        """``MobileNetV1``, with its width where that is not 1."""
        return self.named("MobileNetV1")
