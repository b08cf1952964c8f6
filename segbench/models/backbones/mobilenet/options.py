"""Options of the MobileNets and of EfficientNet-Lite0.

The defaults of V1, V3 and EfficientNet-Lite0 are timm's, which trained or converted the ImageNet weights; those of V2
are the paper's, without its last convolution.

- V1: an old state of ContrastiveSeg's release has ``bn_eps: 1e-3, padding: right-bottom``, unlike those weights.
- V2: mmsegmentation's DeepLabV3 takes 320 channels at ``output_stride: 8, dilation: first``; the release of
  ContrastiveSeg takes 1280 at stride 32, with ``last_conv: true``.
- V3: torchvision's has ``bn_eps: 1e-3, bn_momentum: 0.01``, and in its DeepLabV3 ``output_stride: 16, dilation: full``.
"""

from typing import ClassVar, Literal

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting


class MobileNetOptions(BaseOptions):
    """Options of all these networks.

    Attributes:
        title: the network's name.
    """

    title: ClassVar[str]

    output_stride: Literal[8, 16, 32] = setting(32, description="stages beyond it are dilated instead")
    dilation: Literal["contracted", "full", "first"] = setting(
        "contracted",
        description="the first block of a dilated stage has the dilation of the stage before, or its own; "
        "first: its own, and the blocks after it none (mmsegmentation)",
    )
    bn_eps: float = setting(1e-5, gt=0)
    bn_momentum: float = setting(0.1, gt=0, le=1)
    width: float = setting(1.0, ge=0.125, le=4, description="multiplies all channels")

    def label(self) -> str:
        """Return the network's name, with its width if that is not 1."""
        return self.title if self.width == 1 else f"{self.title}-{self.width:g}"


class EfficientNetLite0(MobileNetOptions):
    """EfficientNet-Lite0: the B0 of Tan and Le (2019, arXiv 1905.11946, table 1) without squeeze-and-excitation, ReLU6.

    Strided convolutions pad as TensorFlow's: even sizes get one zero more at the right and the bottom.
    """

    title = "EfficientNet-Lite0"
    SMALL = {"width": 0.35}
    SMOKE = {"width": 0.25}

    bn_eps: float = setting(1e-3, gt=0)


class MobileNetV1(MobileNetOptions):
    """MobileNet (Howard et al. 2017, arXiv 1704.04861, table 1)."""

    title = "MobileNetV1"
    SMALL = {"width": 0.25}
    SMOKE = {"width": 0.125}

    padding: Literal["symmetric", "right-bottom"] = setting(
        "symmetric",
        description="of convolutions with stride 2: one row and column on every side, or at the right and the bottom "
        "alone, as TensorFlow pads even sizes; odd sizes are then halved rounding down",
    )


class MobileNetV2(MobileNetOptions):
    """MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381, table 2)."""

    title = "MobileNetV2"
    SMALL = {"width": 0.35}
    SMOKE = {"width": 0.25}

    last_conv: bool = setting(
        False, description="whether the coarsest layer passes the last 1x1 convolution, to 1280 channels times width"
    )


class MobileNetV3Large(MobileNetOptions):
    """MobileNetV3-Large (Howard et al. 2019, arXiv 1905.02244, table 1)."""

    title = "MobileNetV3-Large"
    SMALL = {"width": 0.35}
    SMOKE = {"width": 0.25}
