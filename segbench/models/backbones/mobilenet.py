"""The common base of the three MobileNets: timm's networks without classifier, as backbones with four layers."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from segbench.models.segmentor import Backbone

from .mobilenet_options import MobileNetOptions

_LEVELS = 4  # the coarsest; the finest of the five, at stride 2, is not returned


class MobileNet(Backbone):
    """Stem at stride 2, then stages of blocks with depthwise convolutions.

    ``forward`` takes (N, 3, H, W) with H, W >= 32 and returns four layers at strides 4, 8, 16, 32, at most
    ``output_stride``; sizes are rounded up. Weights are initialised as in TensorFlow's networks: normal, by fan out.

    Args:
        generate: timm's builder of the family; its registered networks have no option for the width.
        name: timm's name of the network. Its modules keep their names, so that published weights load.
        options: of the network.
    """

    def __init__(self, generate: Callable[..., Any], name: str, *, options: MobileNetOptions) -> None:
        super().__init__()
        network = generate(
            name,
            channel_multiplier=options.width,
            features_only=True,
            output_stride=options.output_stride,
            bn_eps=options.bn_eps,
            bn_momentum=options.bn_momentum,
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


def _dilate(stage: Any, *, first_alone: bool) -> None:
    """Give the first block of a stage the dilation of the second, or it alone; a stage of one block is unchanged."""
    if len(stage) > 1:
        dilation = stage[1].conv_dw.dilation
        for number, block in enumerate(stage):
            conv = block.conv_dw
            conv.dilation = (1, 1) if number and first_alone else dilation
            conv.padding = tuple(d * (k // 2) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
