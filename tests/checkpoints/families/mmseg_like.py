"""MMSegmentation's networks in plain torch, written from its modules' names and definitions alone.

What a module is called is what MMSegmentation calls it, so that ``state_dict()`` is the layout of its files. Networks
give logits at their own stride. ``tests/peers`` holds these layouts to the real ones.
"""

import math
from types import MethodType
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class Unit(nn.Module):
    """Convolution, batch norm, ReLU, which may have an upper bound, or be 0: none."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        rate: int = 1,
        groups: int = 1,
        bound: float = math.inf,
    ) -> None:
        super().__init__()
        padding = rate * (kernel - 1) // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, rate, groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.bound = bound

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x.clamp(0, self.bound) if self.bound else x


class Separable(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, rate: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = Unit(inputs, inputs, 3, rate=rate, groups=inputs)
        self.pointwise_conv = Unit(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class Block(nn.Module):
    """Bottleneck with its stride in the 3x3 convolution."""

    def __init__(self, inputs: int, width: int, *, stride: int, rate: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=rate, dilation=rate, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != 4 * width:
            shortcut = nn.Conv2d(inputs, 4 * width, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet(nn.Module):
    """Dilated to output stride 8; the first block of a dilated stage has half its dilation (``contract_dilation``)."""

    def __init__(self, blocks: tuple[int, ...], *, width: int = 64, deep: bool = True) -> None:
        super().__init__()
        half = width // 2
        if deep:  # version 1c
            self.stem = nn.Sequential(
                nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
                nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
                nn.Conv2d(half, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            )  # fmt: skip
        else:
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
        self.deep = deep
        inputs = width
        for stage, (count, stride, rate) in enumerate(zip(blocks, (1, 2, 1, 1), (1, 1, 2, 4), strict=True)):
            planes = width * 2**stage
            first = Block(inputs, planes, stride=stride, rate=max(1, rate // 2))
            inputs = 4 * planes
            rest = (Block(inputs, planes, stride=1, rate=rate) for _ in range(count - 1))
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
        self.channels = [4 * width * 2**stage for stage in range(4)]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x) if self.deep else F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        layers = []
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"layer{stage}")(x)
            layers.append(x)
        return layers


class Inverted(nn.Module):
    """MobileNetV2's block: wide in the middle, linear at its end."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, rate: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        widen = [Unit(inputs, wide, 1, bound=6)] if expansion > 1 else []
        depthwise = Unit(wide, wide, 3, stride=stride, rate=rate, groups=wide, bound=6)
        self.conv = nn.Sequential(*widen, depthwise, Unit(wide, outputs, 1, bound=0))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Dilated to output stride 8: the first block of a stage has the stage's dilation, those after it none."""

    TABLE = (
        (16, 1, 1, 1), (24, 2, 2, 1), (32, 3, 2, 1), (64, 4, 1, 2), (96, 3, 1, 2), (160, 3, 1, 4), (320, 1, 1, 4),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Unit(3, 32, 3, stride=2, bound=6)
        inputs = 32
        for stage, (outputs, count, stride, rate) in enumerate(self.TABLE, start=1):
            expansion = 6 if stage > 1 else 1
            blocks = [Inverted(inputs, outputs, stride=stride, rate=rate, expansion=expansion)]
            blocks += [Inverted(outputs, outputs, stride=1, rate=1, expansion=6) for _ in range(count - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            inputs = outputs
        self.channels = [24, 32, 96, 320]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.conv1(x)
        layers = []
        for stage in range(1, 8):
            x = getattr(self, f"layer{stage}")(x)
            if stage in (2, 3, 5, 7):
                layers.append(x)
        return layers


def exchange(module: Any, maps: list[Tensor]) -> list[Tensor]:
    """Every branch receives the sum of all; a coarse one is enlarged by a power of two, then resized to fit."""
    maps = [branch(x) for branch, x in zip(module.branches, maps, strict=True)]
    return [
        F.relu(sum(resized(layer(x), maps[to]) for layer, x in zip(layers, maps, strict=True)))
        for to, layers in enumerate(module.fuse_layers)
    ]


def hrnet(name: str) -> nn.Module:
    """timm's HRNet, whose names are the same, but which enlarges by nearest neighbours and so never to odd sizes."""
    network = timm.create_model(name, pretrained=False, features_only=True, feature_location="")
    for module in list(network.modules()):
        if hasattr(module, "fuse_layers"):
            module.forward = MethodType(exchange, module)
        for child_name, child in module.named_children():
            if isinstance(child, nn.Upsample):
                bilinear = nn.Upsample(scale_factor=child.scale_factor, mode="bilinear", align_corners=False)
                setattr(module, child_name, bilinear)
    network.channels = network.feature_info.channels()[1:]
    return network


class Head(nn.Module):
    """A head's classifier, and the features that it reads."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)

    def features(self, layers: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def forward(self, layers: list[Tensor]) -> Tensor:
        logits: Tensor = self.conv_seg(self.features(layers))
        return logits


class FCN(Head):
    """One convolution on a layer, or on all of them at the finest size."""

    def __init__(self, inputs: int, channels: int, num_classes: int, *, kernel: int = 3, layer: int | None = 2) -> None:
        super().__init__(channels, num_classes)
        self.convs = nn.Sequential(Unit(inputs, channels, kernel))
        self.layer = layer

    def features(self, layers: list[Tensor]) -> Tensor:
        return self.convs(layers[self.layer] if self.layer is not None else concatenated(layers))


def concatenated(layers: list[Tensor]) -> Tensor:
    return torch.cat([resized(layer, layers[0]) for layer in layers], dim=1)


class PSP(Head):
    def __init__(self, inputs: int, channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), Unit(inputs, channels, 1)) for bins in (1, 2, 3, 6)
        )
        self.bottleneck = Unit(inputs + 4 * channels, channels, 3)

    def features(self, layers: list[Tensor]) -> Tensor:
        x = layers[-1]
        return self.bottleneck(torch.cat([x, *(resized(pooled(x), x) for pooled in self.psp_modules)], dim=1))


class ASPP(Head):
    """The pooled branch comes first; DeepLabV3+ has separable branches and goes on with the finest layer."""

    def __init__(self, inputs: int, channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes)
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), Unit(inputs, channels, 1))
        self.aspp_modules = nn.ModuleList(
            [Unit(inputs, channels, 1), *(self.branch(inputs, channels, 12 * k) for k in (1, 2, 3))]
        )
        self.bottleneck = Unit(5 * channels, channels, 3)

    def branch(self, inputs: int, channels: int, rate: int) -> nn.Module:
        return Unit(inputs, channels, 3, rate=rate)

    def features(self, layers: list[Tensor]) -> Tensor:
        x = layers[-1]
        maps = [resized(self.image_pool(x), x), *(branch(x) for branch in self.aspp_modules)]
        return self.bottleneck(torch.cat(maps, dim=1))


class ASPPPlus(ASPP):
    def __init__(self, inputs: int, channels: int, num_classes: int, *, fine: int, low: int = 48) -> None:
        super().__init__(inputs, channels, num_classes)
        self.c1_bottleneck = Unit(fine, low, 1)
        self.sep_bottleneck = nn.Sequential(Separable(channels + low, channels), Separable(channels, channels))

    def branch(self, inputs: int, channels: int, rate: int) -> nn.Module:
        return Separable(inputs, channels, rate=rate)

    def features(self, layers: list[Tensor]) -> Tensor:
        low = self.c1_bottleneck(layers[0])
        return self.sep_bottleneck(torch.cat([resized(super().features(layers), low), low], dim=1))


class Attention(nn.Module):
    def __init__(self, channels: int, key: int) -> None:
        super().__init__()
        self.query_project = nn.Sequential(Unit(channels, key, 1), Unit(key, key, 1))
        self.key_project = nn.Sequential(Unit(channels, key, 1), Unit(key, key, 1))
        self.value_project = Unit(channels, key, 1)
        self.out_project = Unit(key, channels, 1)
        self.bottleneck = Unit(2 * channels, channels, 1)

    def forward(self, pixels: Tensor, regions: Tensor) -> Tensor:
        query = self.query_project(pixels).flatten(2).transpose(1, 2)  # N, HW, key
        key, value = self.key_project(regions).flatten(2), self.value_project(regions).flatten(2).transpose(1, 2)
        weights = (query @ key / key.shape[1] ** 0.5).softmax(dim=-1)
        context = (weights @ value).transpose(1, 2).unflatten(2, pixels.shape[2:])
        return self.bottleneck(torch.cat([self.out_project(context), pixels], dim=1))


class OCR(Head):
    """The second of two heads: it reads what the first says of each pixel's region."""

    def __init__(self, inputs: int, channels: int, key: int, num_classes: int, *, layer: int | None) -> None:
        super().__init__(channels, num_classes)
        self.object_context_block = Attention(channels, key)
        self.bottleneck = Unit(inputs, channels, 3)
        self.layer = layer

    def forward(self, layers: list[Tensor], regions: Tensor | None = None) -> Tensor:
        assert regions is not None
        pixels = self.bottleneck(layers[self.layer] if self.layer is not None else concatenated(layers))
        weights = regions.flatten(2).softmax(dim=2)  # N, C, HW
        means = (weights @ pixels.flatten(2).transpose(1, 2)).transpose(1, 2).unsqueeze(3)
        logits: Tensor = self.conv_seg(self.object_context_block(pixels, means))
        return logits


class Network(nn.Module):
    """Backbone and head, the auxiliary one for the layout alone."""

    def __init__(self, backbone: nn.Module, head: nn.Module, auxiliary: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = head
        if auxiliary is not None:
            self.auxiliary_head = auxiliary

    def forward(self, images: Tensor) -> Tensor:
        layers = self.backbone(images)[-4:]
        if not isinstance(self.decode_head, nn.ModuleList):
            logits: Tensor = self.decode_head(layers)
            return logits
        regions, last = self.decode_head
        final: Tensor = last(layers, regions(layers))
        return final


def pspnet(backbone: ResNet | MobileNetV2, num_classes: int, *, channels: int = 512, aux: int = 256) -> Network:
    *_, third, last = backbone.channels
    return Network(backbone, PSP(last, channels, num_classes), FCN(third, aux, num_classes))


def deeplabv3(backbone: ResNet | MobileNetV2, num_classes: int, *, channels: int = 512, aux: int = 256) -> Network:
    *_, third, last = backbone.channels
    return Network(backbone, ASPP(last, channels, num_classes), FCN(third, aux, num_classes))


def deeplabv3plus(
    backbone: ResNet | MobileNetV2, num_classes: int, *, channels: int = 512, aux: int = 256, low: int = 48
) -> Network:
    first, _, third, last = backbone.channels
    head = ASPPPlus(last, channels, num_classes, fine=first, low=low)
    return Network(backbone, head, FCN(third, aux, num_classes))


def ocrnet(backbone: ResNet, num_classes: int, *, channels: int = 512, key: int = 256, aux: int = 256) -> Network:
    *_, third, last = backbone.channels
    regions = FCN(third, aux, num_classes)
    return Network(backbone, nn.ModuleList([regions, OCR(last, channels, key, num_classes, layer=3)]))


def fcn_hrnet(backbone: nn.Module, num_classes: int) -> Network:
    total = sum(backbone.channels)
    return Network(backbone, FCN(total, total, num_classes, kernel=1, layer=None))


def ocrnet_hrnet(backbone: nn.Module, num_classes: int, *, channels: int = 512, key: int = 256) -> Network:
    total = sum(backbone.channels)
    regions = FCN(total, total, num_classes, kernel=1, layer=None)
    return Network(backbone, nn.ModuleList([regions, OCR(total, channels, key, num_classes, layer=None)]))
