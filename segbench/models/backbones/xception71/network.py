"""Xception-71 of DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611, figure 4, with the two entry blocks more that the
released code calls 71); timm's, so that the converted TensorFlow weights load by name.

TensorFlow pads strided convolutions as here only for sides of 32k + 1, e.g. crops of 769 and images of 1025x2049.
"""

from functools import partial
from typing import Any, Self

import torch.nn.functional as F
from timm.models.xception_aligned import XceptionAligned
from torch import Tensor, nn

from segbench.models.segmentor import Backbone

from .options import Options

_STEM, _STEM_STRIDE = 64, 2
_TAPPED = 2  # block whose second convolution gives the fine layer
_FINE_STRIDE = 4


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone with PyTorch's default initialisation, as timm does; trainings start from ImageNet weights.

    ``align_corners`` means nothing here, as nothing is resized.
    """
    return Xception71(options)


class Xception71(Backbone):
    """Stem, five entry blocks, the middle flow, two exit blocks, each of three separable convolutions.

    ``forward`` takes (N, 3, H, W) with H, W >= 32 and gives two layers, sizes rounded up: 256 channels at stride 4 and
    2048 at ``output_stride`` (times ``width``). The first is what DeepLabV3+'s decoder reads: the third entry block
    after its second separable convolution's normalisation, before the ReLU and the strided convolution
    (released code, feature_extractor.py). The second is after its ReLU.
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        flow = _blocks(options)
        self._strides = tuple(block["stride"] for block in flow)
        norm: Any = partial(nn.BatchNorm2d, eps=options.bn_eps, momentum=options.bn_momentum)
        # Built without dilation: timm would drop a shortcut's convolution where a stride falls away.
        network = XceptionAligned(flow, num_classes=0, norm_layer=norm)
        self.stem, self.blocks = network.stem, network.blocks
        self.layer_channels = (flow[_TAPPED]["out_chs"], flow[-1]["out_chs"][-1])
        self.layer_strides = (_FINE_STRIDE, options.output_stride)
        self._output_strides = {True: options.output_stride}  # by whether it is training
        self._output_strides[False] = options.eval_output_stride or options.output_stride
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Switch modes, and with them the output stride."""
        stride, dilation = _STEM_STRIDE, 1
        for block, step in zip(self.blocks, self._strides, strict=True):
            falls_away = stride * step > self._output_strides[mode]
            _shape(block, stride=1 if falls_away else step, dilation=dilation)
            if falls_away:
                dilation *= step
            else:
                stride *= step
        return super().train(mode)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images to two layers, finest first."""
        x = fine = self.stem(images)
        for number, block in enumerate(self.blocks):
            if number == _TAPPED:
                fine, x = _with_inner(block, x)
            else:
                x = block(x)
        return fine, x


def _with_inner(block: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a block's maps after its second norm, and its output."""
    stack = block.stack
    inside = stack.conv2(stack.act2(stack.conv1(stack.act1(x))))
    return inside, stack.conv3(F.relu(inside)) + block.shortcut(x)


def _shape(block: Any, *, stride: int, dilation: int) -> None:
    """Set the stride of a block's third convolution and shortcut, and the dilation of all three convolutions."""
    stack = block.stack
    for convolution in (stack.conv1, stack.conv2, stack.conv3):
        convolution.conv_dw.dilation = convolution.conv_dw.padding = (dilation, dilation)
    stack.conv3.conv_dw.stride = (stride, stride)
    if block.shortcut is not None:
        block.shortcut.conv.stride = (stride, stride)


def _blocks(options: Options) -> list[dict[str, Any]]:
    """Return timm's settings of the blocks: channels in and out (of each convolution if they differ), stride."""
    c128, c256, c728, c1024, c1536, c2048 = (
        8 * round(options.width * channels / 8) for channels in (128, 256, 728, 1024, 1536, 2048)
    )
    entry = ((c128, 2), (c256, 1), (c256, 2), (c728, 1), (c728, 2))
    middle = ((c728, 1),) * options.middle_blocks
    channels = _STEM
    found: list[dict[str, Any]] = []
    for out, stride in (*entry, *middle):
        found.append({"in_chs": channels, "out_chs": out, "stride": stride})
        channels = out
    found.append({"in_chs": c728, "out_chs": (c728, c1024, c1024), "stride": 2})
    found.append({"in_chs": c1024, "out_chs": (c1536, c1536, c2048), "stride": 1})
    found[-1] |= {"no_skip": True, "start_with_relu": False}
    return found
