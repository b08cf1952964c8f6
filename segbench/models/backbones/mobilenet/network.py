"""timm's MobileNets and EfficientNet-Lite0 without classifier, as backbones with four layers.

Channels of the layers, times ``width``: 128, 256, 512, 1024 of V1, after ReLU6; 24, 32, 96, 320 of V2, all linear
bottlenecks, the last 1280 with ``last_conv``; 24, 40, 112, 960 of V3-Large, the last after a 1x1 convolution with
hard-swish; 24, 40, 112, 320 of EfficientNet-Lite0, all linear bottlenecks.
"""

import math
from collections.abc import Callable
from typing import Any

from timm.layers import BatchNormAct2d
from timm.models.efficientnet import _gen_efficientnet_lite, _gen_mobilenet_v1, _gen_mobilenet_v2
from timm.models.mobilenetv3 import _gen_mobilenet_v3
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.models.segmentor import Backbone

from .options import EfficientNetLite0, MobileNetOptions, MobileNetV1, MobileNetV2

_LAST = 1280  # channels before V2's classifier
_LEVELS = 4  # the coarsest; the finest of the five, at stride 2, is not returned


class MobileNet(Backbone):
    """Stem at stride 2, then stages of blocks with depthwise convolutions.

    ``forward`` takes (N, 3, H, W) with H, W >= 32 and returns four layers at strides 4, 8, 16, 32, at most
    ``output_stride``; sizes are rounded up. Weights are initialised as in TensorFlow's networks: normal, by fan out.

    Args:
        generate: timm's builder of the family; its registered networks have no option for the width.
        name: timm's name of the network. Its modules keep their names, so that published weights load.
        options: of the network.
        pad_type: timm's name of the padding of strided convolutions; empty for as many zeros on every side.
    """

    def __init__(
        self, generate: Callable[..., Any], name: str, *, options: MobileNetOptions, pad_type: str = ""
    ) -> None:
        super().__init__()
        network = generate(
            name,
            channel_multiplier=options.width,
            features_only=True,
            output_stride=options.output_stride,
            bn_eps=options.bn_eps,
            bn_momentum=options.bn_momentum,
            pad_type=pad_type,
        )
        self.conv_stem, self.bn1 = network.conv_stem, network.bn1
        self.act1: nn.Module = getattr(network, "act1", nn.Identity())  # inside bn1 in the first two networks
        self.blocks = network.blocks
        levels = network.feature_info.get_dicts()[-_LEVELS:]
        self._taps = frozenset(level["stage"] - 1 for level in levels)
        self.layer_channels = tuple(level["num_chs"] for level in levels)
        self.layer_strides = tuple(level["reduction"] for level in levels)
        if options.dilation != "contracted":
            for stage in self.blocks:
                _dilate(stage, first_alone=options.dilation == "first")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images to four layers, finest first."""
        x = self.act1(self.bn1(self.conv_stem(images)))
        layers: list[Tensor] = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in self._taps:
                layers.append(x)
        return tuple(layers)


class LastConv(MobileNet):
    """MobileNetV2 with the 1x1 convolution, normalisation and ReLU6 that precede the classifier of ImageNet."""

    def __init__(self, generate: Callable[..., Any], name: str, *, options: MobileNetV2) -> None:
        super().__init__(generate, name, options=options)
        channels = round(_LAST * options.width)
        self.conv_head = nn.Conv2d(self.layer_channels[-1], channels, 1, bias=False)
        nn.init.normal_(self.conv_head.weight, std=math.sqrt(2 / channels))
        self.bn2 = BatchNormAct2d(channels, eps=options.bn_eps, momentum=options.bn_momentum, act_layer=nn.ReLU6)
        self.layer_channels = (*self.layer_channels[:-1], channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images to four layers, finest first."""
        *finer, last = super().forward(images)
        return *finer, self.bn2(self.conv_head(last))


def build(options: MobileNetOptions, *, align_corners: bool) -> Backbone:
    """Build the backbone; ``align_corners`` is ignored, as nothing is resized."""
    if isinstance(options, MobileNetV1):
        network = MobileNet(_gen_mobilenet_v1, "mobilenetv1_100", options=options)
        if options.padding == "right-bottom":
            _pad_at_the_end(network)
        return network
    if isinstance(options, MobileNetV2):
        form = LastConv if options.last_conv else MobileNet
        return form(_gen_mobilenet_v2, "mobilenetv2_100", options=options)
    if isinstance(options, EfficientNetLite0):
        return MobileNet(_gen_efficientnet_lite, "tf_efficientnet_lite0", options=options, pad_type="same")
    return MobileNet(_gen_mobilenet_v3, "mobilenetv3_large_100", options=options)


class _EndPaddedConv(nn.Conv2d):
    """3x3 convolution that pads (N, C, H, W) maps with one row at the bottom and one column at the right."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (0, 1, 0, 1)))


def _pad_at_the_end(network: nn.Module) -> None:
    """Replace every convolution of stride 2 by one on the same weights that pads at the end."""
    for owner in list(network.modules()):
        for name, conv in owner.named_children():
            if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
                size = (conv.in_channels, conv.out_channels)
                other = _EndPaddedConv(*size, (3, 3), stride=(2, 2), groups=conv.groups, bias=conv.bias is not None)
                other.weight, other.bias = conv.weight, conv.bias
                setattr(owner, name, other)


def _dilate(stage: Any, *, first_alone: bool) -> None:
    """Give the first block of a stage the dilation of the second, or it alone; a stage of one block is unchanged."""
    if len(stage) > 1:
        dilation = stage[1].conv_dw.dilation
        for number, block in enumerate(stage):
            conv = block.conv_dw
            conv.dilation = (1, 1) if number and first_alone else dilation
            conv.padding = tuple(d * (k // 2) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
