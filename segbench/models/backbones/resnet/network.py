"""ResNet of bottleneck blocks (He et al. 2016, arXiv 1512.03385, table 1) without its classifier, for dense prediction.

timm's network, so that its published weights load by name. What segmentation codes do differently is changed on the
finished modules and moves no weight: which convolution has the stride, how far the first block of a dilated stage
looks, how the pooling rounds.
"""

from functools import partial
from itertools import pairwise
from typing import Any

from timm.models import resnet as timm_resnet
from torch import Tensor, nn

from segbench.models.segmentor import Backbone

from .options import Options

_Network: Any = timm_resnet.ResNet  # timm's own type hints do not admit its own block types
_Bottleneck: Any = timm_resnet.Bottleneck
_POOLED = 4  # stride of the pooled stem, and of the first stage as published


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone with Kaiming-normal convolutions (fan out) and every normalisation at 1 and 0.

    ``align_corners`` means nothing here: nothing is resized.
    """
    return ResNet(options)


class ResNet(Backbone):
    """Stem with pooling, then four stages.

    ``forward`` takes (N, 3, H, W) with H, W >= 32 and gives the four stages' outputs with 256, 512, 1024, 2048 channels
    (times ``width``) at strides 4, 8, 16, 32 but never above ``output_stride``; sizes are rounded up. With
    ``ceil_mode`` the pooled stem is one larger where its input is even, e.g. 25x33 for images of 96x128.
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        channels = tuple(round(options.width * 64 * 2**stage) for stage in range(4))
        deep = options.stem != "conv7x7"
        network = _Network(
            _Bottleneck,
            options.blocks_of_stages(),
            num_classes=0,
            output_stride=options.output_stride,
            stem_type="deep" if deep else "",
            stem_width=round(options.width * (32 if options.stem == "deep-narrow" else 64)) if deep else 64,
            channels=channels,
            norm_layer=partial(nn.BatchNorm2d, eps=options.bn_eps, momentum=options.bn_momentum),
            # timm starts residual branches at 0: with a frozen affine part they would stay there
            zero_init_last=False,
        )
        self.conv1, self.bn1, self.act1, self.maxpool = network.conv1, network.bn1, network.act1, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        stages: list[Any] = [self.layer1, self.layer2, self.layer3, self.layer4]

        self.maxpool.ceil_mode = options.ceil_mode
        strides = [min(_POOLED * 2**stage, options.output_stride) for stage in range(4)]
        if options.dilation == "full":
            for number, stage in enumerate(stages):
                _dilate(stage[0], _POOLED * 2**number // strides[number])
        if options.stride_at == "last":
            for before, stage in pairwise(stages):
                _stride_earlier(before[-1], stage[0])
            strides = [*strides[1:], strides[-1]]
        if options.stride_in == "conv1":
            for stage in stages:
                for block in stage:
                    block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
        if options.frozen_norm:
            _freeze_affine(self)
        self.layer_channels = tuple(_Bottleneck.expansion * width for width in channels)
        self.layer_strides = tuple(strides)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images to the outputs of the four stages, finest first."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(images))))
        layer1 = self.layer1(x)
        layer2 = self.layer2(layer1)
        layer3 = self.layer3(layer2)
        return layer1, layer2, layer3, self.layer4(layer3)


def _dilate(block: Any, dilation: int) -> None:
    """Give the 3x3 convolution of a block the dilation of those of the blocks after it."""
    block.conv2.dilation = block.conv2.padding = (dilation, dilation)


def _stride_earlier(last: Any, first: Any) -> None:
    """Move the stride of a stage's first block to the last block of the stage before it, as TF-Slim's v1 networks.

    The shortcut of that block becomes every second pixel, unless it has a convolution already.
    """
    stride = first.conv2.stride
    first.conv2.stride = first.downsample[0].stride = (1, 1)
    last.conv2.stride = stride
    if last.downsample is not None:
        last.downsample[0].stride = stride
    elif stride != (1, 1):
        last.downsample = nn.MaxPool2d(1, stride)


def _freeze_affine(network: nn.Module) -> None:
    """Freeze scale and shift of every norm; it still uses and averages the statistics of the batch."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.requires_grad_(False)
            module.bias.requires_grad_(False)
