"""MobileNet (Howard et al. 2017, arXiv 1704.04861, table 1) without its classifier.

Layers of 128, 256, 512, 1024 channels (times ``width``), all after ReLU6.
"""

from timm.models.efficientnet import _gen_mobilenet_v1
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.models.backbones.mobilenet import MobileNet
from segbench.models.segmentor import Backbone

from .options import Options


class _EndPaddedConv(nn.Conv2d):
    """3x3 convolution that pads (N, C, H, W) maps with one row at the bottom and one column at the right."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (0, 1, 0, 1)))


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone; ``align_corners`` is ignored, as nothing is resized."""
    network = MobileNet(_gen_mobilenet_v1, "mobilenetv1_100", options=options)
    if options.padding == "right-bottom":
        for owner in list(network.modules()):
            for name, conv in owner.named_children():
                if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
                    setattr(owner, name, _end_padded(conv))
    return network


def _end_padded(conv: nn.Conv2d) -> nn.Conv2d:
    """Return the convolution, on the same weights, with padding at the end."""
    other = _EndPaddedConv(
        conv.in_channels, conv.out_channels, (3, 3), stride=(2, 2), groups=conv.groups, bias=conv.bias is not None
    )
    other.weight, other.bias = conv.weight, conv.bias
    return other
