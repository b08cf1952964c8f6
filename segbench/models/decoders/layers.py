"""Building blocks of decoders: convolutions with batch norm, dropout, resizing, initialisation."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.core.spec import Size

from .settings import DropoutOf, Init, NormOptions

NORMAL_STD = 0.01


class Norm(NamedTuple):
    """Settings of a decoder's batch norms, and the negative slope of the activations after them."""

    momentum: float = 0.1
    eps: float = 1e-5
    slope: float = 0.0

    def __call__(self, channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, momentum=self.momentum, eps=self.eps)


def norm_of(options: NormOptions) -> Norm:
    return Norm(options.bn_momentum, options.bn_eps, options.negative_slope)


def conv_norm_relu(
    channels: int,
    out: int,
    kernel: int,
    *,
    norm: Norm,
    rate: int = 1,
    groups: int = 1,
    bias: bool = False,
    relu: bool = True,
) -> nn.Sequential:
    """Build a convolution that keeps the size, batch norm and, by default, ReLU."""
    padding = rate * (kernel // 2)
    conv = nn.Conv2d(channels, out, kernel, padding=padding, dilation=rate, groups=groups, bias=bias)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, norm=norm(out))
    if relu:
        layers["act"] = nn.LeakyReLU(norm.slope, inplace=True) if norm.slope else nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def separable_conv(channels: int, out: int, *, norm: Norm, rate: int = 1) -> nn.Sequential:
    """Build a depthwise 3x3 and a 1x1 convolution, each with batch norm and ReLU (Chen et al. 2018, section 3.1)."""
    return nn.Sequential(
        OrderedDict(
            depthwise=conv_norm_relu(channels, channels, 3, norm=norm, rate=rate, groups=channels),
            pointwise=conv_norm_relu(channels, out, 1, norm=norm),
        )
    )


def dropout(probability: float, *, of: DropoutOf) -> nn.Module:
    """Build the dropout of whole channels or of single elements; the identity at probability 0."""
    if not probability:
        return nn.Identity()
    return nn.Dropout2d(probability) if of == "channels" else nn.Dropout(probability)


def resize(x: Tensor, size: Size, *, align_corners: bool) -> Tensor:
    """Resize (N, c, h, w) bilinearly to ``size``."""
    if x.shape[-2:] == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def join(layers: Sequence[Tensor], *, align_corners: bool) -> Tensor:
    """Resize layers (N, c_i, h_i, w_i) to the size of the first and concatenate them, (N, sum of c_i, h_1, w_1)."""
    size = (layers[0].shape[-2], layers[0].shape[-1])
    return torch.cat([resize(layer, size, align_corners=align_corners) for layer in layers], dim=1)


def initialise(decoder: nn.Module, init: Init, *, classifier: nn.Conv2d | None = None) -> None:
    """Initialise the weights of all convolutions of ``decoder``, or of its ``classifier`` alone (see ``Init``)."""
    if init == "normal_classifier" and classifier is not None:
        nn.init.normal_(classifier.weight, std=NORMAL_STD)
    if init not in ("kaiming", "normal"):
        return
    for module in decoder.modules():
        if not isinstance(module, nn.Conv1d | nn.Conv2d):
            continue
        if init == "normal":
            nn.init.normal_(module.weight, std=NORMAL_STD)
            continue
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
