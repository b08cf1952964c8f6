"""What other projects' networks compute, written with plain functions on the tensors of their files.

No code of segbench is asked. ``up`` resizes with aligned corners unless told otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class Plain:
    """A file's tensors in float64, and layers that look theirs up by name.

    ``inplace``: norms are the in-place ones, which scale by ``|weight| + eps``; ``slope``: of the activations.
    """

    state: Mapping[str, Tensor]
    align_corners: bool = True
    inplace: bool = False
    slope: float = 0.0

    def conv(self, x: Tensor, name: str, *, stride: int = 1, rate: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"].double()
        bias = self.state.get(f"{name}.bias")
        reach = rate * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, None if bias is None else bias.double(), stride, reach, rate)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.state[f"{name}.{each}"].double()[:, None, None]
            for each in ("running_mean", "running_var", "weight", "bias")
        )
        scale = weight.abs() + 1e-5 if self.inplace else weight
        return (x - mean) / (var + 1e-5).sqrt() * scale + bias

    def act(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.slope * x)

    def unit(self, x: Tensor, conv: str, norm: str, *, rate: int = 1) -> Tensor:
        return self.act(self.norm(self.conv(x, conv, rate=rate), norm))

    def up(self, x: Tensor, size: Size) -> Tensor:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)

    def has(self, name: str) -> bool:
        return f"{name}.weight" in self.state

    def bottleneck(self, x: Tensor, here: str, *, stride: int = 1, rate: int = 1, first_conv: bool = False) -> Tensor:
        """``first_conv``: whether the stride is in the 1x1 convolution."""
        early, late = (stride, 1) if first_conv else (1, stride)
        y = self.norm(self.conv(x, f"{here}.conv1", stride=early), f"{here}.bn1").relu()
        y = self.norm(self.conv(y, f"{here}.conv2", stride=late, rate=rate), f"{here}.bn2").relu()
        y = self.norm(self.conv(y, f"{here}.conv3"), f"{here}.bn3")
        if self.has(f"{here}.downsample.0"):
            x = self.norm(self.conv(x, f"{here}.downsample.0", stride=stride), f"{here}.downsample.1")
        return (x + y).relu()

    def resnet(
        self,
        x: Tensor,
        prefix: str,
        stem: tuple[str, ...],
        *,
        strides: tuple[int, ...],
        rates: tuple[tuple[int, int], ...],
        ceil_mode: bool,
        first_conv: bool = False,
    ) -> list[Tensor]:
        """``rates``: for each stage, of its first block and of the others."""
        for number in range(len(stem) // 2):
            x = self.conv(x, stem[2 * number], stride=1 if number else 2)
            x = self.norm(x, stem[2 * number + 1]).relu()
        x = F.max_pool2d(x, 3, 2, 1, ceil_mode=ceil_mode)
        layers = []
        for stage, (stride, (rate, others)) in enumerate(zip(strides, rates, strict=True), start=1):
            block = 0
            while self.has(f"{prefix}layer{stage}.{block}.conv1"):
                here = f"{prefix}layer{stage}.{block}"
                own = (stride, rate) if block == 0 else (1, others)
                x = self.bottleneck(x, here, stride=own[0], rate=own[1], first_conv=first_conv)
                block += 1
            layers.append(x)
        return layers

    def hrnet(self, x: Tensor, prefix: str) -> Tensor:
        """All branches at the size of the finest, concatenated."""
        for k in (1, 2):
            x = self.norm(self.conv(x, f"{prefix}conv{k}", stride=2), f"{prefix}bn{k}").relu()
        block = 0
        while self.has(f"{prefix}layer1.{block}.conv1"):
            x = self.bottleneck(x, f"{prefix}layer1.{block}")
            block += 1
        maps = [x]
        for stage in (2, 3, 4):
            here = f"{prefix}transition{stage - 1}"
            new = f"{here}.{stage - 1}.0"
            grown = self.norm(self.conv(maps[-1], f"{new}.0", stride=2), f"{new}.1").relu()
            if stage == 2:
                maps = [self.norm(self.conv(x, f"{here}.0.0"), f"{here}.0.1").relu()]
            maps.append(grown)
            module = 0
            while self.has(f"{prefix}stage{stage}.{module}.branches.0.0.conv1"):
                maps = self._exchanged(maps, f"{prefix}stage{stage}.{module}")
                module += 1
        size = (maps[0].shape[-2], maps[0].shape[-1])
        return torch.cat([maps[0], *(self.up(each, size) for each in maps[1:])], 1)

    def _exchanged(self, maps: list[Tensor], here: str) -> list[Tensor]:
        maps = [self._branch(x, f"{here}.branches.{branch}") for branch, x in enumerate(maps)]
        found = []
        for to, own in enumerate(maps):
            total = torch.zeros_like(own)
            for source, x in enumerate(maps):
                layer = f"{here}.fuse_layers.{to}.{source}"
                if source > to:
                    x = self.norm(self.conv(x, f"{layer}.0"), f"{layer}.1")
                    x = self.up(x, (own.shape[-2], own.shape[-1]))
                for step in range(to - source):
                    x = self.norm(self.conv(x, f"{layer}.{step}.0", stride=2), f"{layer}.{step}.1")
                    x = x.relu() if step < to - source - 1 else x
                total = total + x
            found.append(total.relu())
        return found

    def _branch(self, x: Tensor, here: str) -> Tensor:
        block = 0
        while self.has(f"{here}.{block}.conv1"):
            y = self.norm(self.conv(x, f"{here}.{block}.conv1"), f"{here}.{block}.bn1").relu()
            x = (x + self.norm(self.conv(y, f"{here}.{block}.conv2"), f"{here}.{block}.bn2")).relu()
            block += 1
        return x

    def ocr(self, pixels: Tensor, coarse: Tensor, name: str, *, inside: str = ".0") -> Tensor:
        """``SpatialOCR_Module`` of pixels (1, c, h, w), and of the means of regions that logits ``coarse`` weigh."""
        n, _, height, width = pixels.shape
        weights = coarse.flatten(2).softmax(2)
        regions = (weights @ pixels.flatten(2).transpose(1, 2)).transpose(1, 2)[..., None]
        block = f"{name}.object_context_block"

        def step(x: Tensor, part: str, first: int = 0) -> Tensor:
            return self.unit(x, f"{part}.{first}", f"{part}.{first + 1}{inside}")

        query = step(step(pixels, f"{block}.f_pixel"), f"{block}.f_pixel", 2).flatten(2).transpose(1, 2)
        key = step(step(regions, f"{block}.f_object"), f"{block}.f_object", 2).flatten(2)
        value = step(regions, f"{block}.f_down").flatten(2).transpose(1, 2)
        shares = (query @ key / key.shape[1] ** 0.5).softmax(-1)
        context = (shares @ value).transpose(1, 2).reshape(n, -1, height, width)
        both = torch.cat([step(context, f"{block}.f_up"), pixels], 1)
        return step(both, f"{name}.conv_bn_dropout")


def largest_difference(got: Callable[[Tensor], Tensor], wanted: Callable[[Tensor], Tensor], size: Size) -> float:
    """Of one random image's answers, relative to the largest value; infinite where shapes differ."""
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.inference_mode():
        one, other = got(image), wanted(image)
    if one.shape != other.shape:
        return float("inf")
    return float((one - other).abs().max() / other.abs().max())
