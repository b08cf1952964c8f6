"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381, table 2) without its classifier.

Layers of 24, 32, 96, 320 channels (times ``width``), linear bottlenecks all; with ``last_conv`` the last has 1280.
"""

import math

from timm.layers import BatchNormAct2d
from timm.models.efficientnet import _gen_mobilenet_v2
from torch import Tensor, nn

from segbench.models.backbones.mobilenet import MobileNet
from segbench.models.segmentor import Backbone

from .options import Options

_TIMM = "mobilenetv2_100"
_LAST = 1280


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone; ``align_corners`` is ignored, as nothing is resized."""
    return LastConv(options) if options.last_conv else MobileNet(_gen_mobilenet_v2, _TIMM, options=options)


class LastConv(MobileNet):
    """MobileNetV2 with the 1x1 convolution, normalisation and ReLU6 that precede the classifier of ImageNet."""

    def __init__(self, options: Options) -> None:
        super().__init__(_gen_mobilenet_v2, _TIMM, options=options)
        channels = round(_LAST * options.width)
        self.conv_head = nn.Conv2d(self.layer_channels[-1], channels, 1, bias=False)
        nn.init.normal_(self.conv_head.weight, std=math.sqrt(2 / channels))
        self.bn2 = BatchNormAct2d(channels, eps=options.bn_eps, momentum=options.bn_momentum, act_layer=nn.ReLU6)
        self.layer_channels = (*self.layer_channels[:-1], channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images to four layers, finest first."""
        *finer, last = super().forward(images)
        return *finer, self.bn2(self.conv_head(last))
