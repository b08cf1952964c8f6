"""What decoders compute, written from the formulas in float64, and a backbone as small as they allow."""

from math import ceil, floor
from typing import TypeVar

import torch
from torch import Tensor, nn

from segbench.models.segmentor import Backbone

Module = TypeVar("Module", bound=nn.Module)


class Dilated(Backbone):
    """Four layers at strides 4, 8, 8, 8 (or others), each one 1x1 convolution of the images."""

    def __init__(self, channels: tuple[int, ...] = (5, 6, 7, 8), strides: tuple[int, ...] = (4, 8, 8, 8)) -> None:
        super().__init__()
        self.layer_channels, self.layer_strides = channels, strides
        pairs = zip(channels, strides, strict=True)
        self.layers = nn.ModuleList(nn.Conv2d(3, width, 1, stride=stride) for width, stride in pairs)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(layer(images) for layer in self.layers)


def randomised(module: Module) -> Module:
    """The module in float64 with all parameters and statistics random, so that none of them can be forgotten."""
    module = module.double()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
    return module


def conv(x: Tensor, layer: nn.Module, *, rate: int = 1, depthwise: bool = False) -> Tensor:
    """Sum over the taps of the kernel of the image, shifted by ``rate`` pixels a tap and 0 outside."""
    weight = layer.weight
    height, width = x.shape[-2:]
    total = torch.zeros(x.shape[0], weight.shape[0], height, width, dtype=x.dtype)
    reach = weight.shape[-1] // 2
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            shifted = torch.zeros_like(x)
            for row in range(max(0, -i * rate), min(height, height - i * rate)):
                low, high = max(0, -j * rate), min(width, width - j * rate)
                if low < high:
                    shifted[..., row, low:high] = x[..., row + i * rate, low + j * rate : high + j * rate]
            tap = weight[:, :, i + reach, j + reach]
            if depthwise:
                total += shifted * tap.squeeze(1)[:, None, None]
            else:
                total += torch.einsum("oc,nchw->nohw", tap, shifted)
    return total if layer.bias is None else total + layer.bias[:, None, None]


def normalise(x: Tensor, norm: nn.Module) -> Tensor:
    def along(values: Tensor) -> Tensor:
        return values[:, None, None]

    deviation = (norm.running_var + norm.eps) ** 0.5
    return (x - along(norm.running_mean)) / along(deviation) * along(norm.weight) + along(norm.bias)


def unit(x: Tensor, layers: nn.Module, *, rate: int = 1, depthwise: bool = False, relu: bool = True) -> Tensor:
    """Convolution, batch norm with running statistics and, unless told otherwise, ReLU."""
    y = normalise(conv(x, layers.conv, rate=rate, depthwise=depthwise), layers.norm)
    return y.clamp(min=0) if relu else y


def bilinear(x: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    for axis, wanted in ((-2, size[0]), (-1, size[1])):
        have = x.shape[axis]
        rows = []
        for k in range(wanted):
            at = k * (have - 1) / max(1, wanted - 1) if align_corners else (k + 0.5) * have / wanted - 0.5
            at = min(max(at, 0.0), have - 1)
            below = min(floor(at), have - 1)
            above = min(below + 1, have - 1)
            rows.append(x.select(axis, below) * (1 - (at - below)) + x.select(axis, above) * (at - below))
        x = torch.stack(rows, axis)
    return x


def grid_means(x: Tensor, bins: int) -> Tensor:
    """Mean of each of ``bins`` by ``bins`` cells; a cell ends where the next has begun or begins."""
    height, width = x.shape[-2:]

    def cells(side: int) -> list[slice]:
        return [slice(floor(k * side / bins), ceil((k + 1) * side / bins)) for k in range(bins)]

    rows = [torch.stack([x[..., a, b].mean((-2, -1)) for b in cells(width)], -1) for a in cells(height)]
    return torch.stack(rows, -2)


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
