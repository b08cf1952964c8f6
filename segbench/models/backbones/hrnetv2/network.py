"""HRNetV2 for dense prediction (Sun et al. 2019, arXiv 1904.04514, section 3 and figures 1-3).

Parameter names are those under which ImageNet weights of HRNet are published. Two things differ from the
classification network: coarse branches are resized bilinearly to the finer branch's own size (so any input
size works, e.g. 360x480), and the classification head does not exist.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from segbench.models.segmentor import Backbone

from .options import Options

EXPANSION = 4  # output channels of a bottleneck over its inner width


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone with Kaiming-normal convolutions (fan out), as the ImageNet trainings start.

    With ``init_std`` they are normal instead.
    """
    network = HRNetV2(options, align_corners=align_corners)
    for module in network.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if options.init_std is not None:
            nn.init.normal_(module.weight, std=options.init_std)
        else:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


class HRNetV2(Backbone):
    """Stem, at stride 4 by default, then stages with 1, 2, 3 and 4 parallel resolutions.

    ``forward`` takes (N, 3, H, W) with H, W >= 32 and gives four maps with ``width`` times 1, 2, 4, 8
    channels at 1, 2, 4, 8 times the stem's stride (sizes rounded up).
    """

    def __init__(self, options: Options, *, align_corners: bool) -> None:
        super().__init__()
        momentum = options.bn_momentum
        stem = options.stem_channels
        widths = tuple(options.width * 2**branch for branch in range(4))
        self.layer_channels = widths
        first, second = options.stem_strides
        self.layer_strides = tuple(first * second * 2**branch for branch in range(4))

        self.conv1 = _conv(3, stem, 3, stride=first)
        self.bn1 = nn.BatchNorm2d(stem, momentum=momentum)
        self.conv2 = _conv(stem, stem, 3, stride=second)
        self.bn2 = nn.BatchNorm2d(stem, momentum=momentum)
        stage1_channels = options.stage1_width * EXPANSION
        self.layer1 = nn.Sequential(
            *(
                Bottleneck(stage1_channels if block else stem, options.stage1_width, momentum=momentum)
                for block in range(options.stage1_blocks)
            )
        )
        before: Sequence[int] = (stage1_channels,)
        for stage, modules in enumerate(options.modules, start=2):
            now = widths[:stage]
            self.add_module(f"transition{stage - 1}", _transition(before, now, momentum=momentum))
            exchange = nn.Sequential(
                *(
                    ExchangeModule(
                        now,
                        options.blocks_per_branch,
                        momentum=momentum,
                        align_corners=align_corners,
                        by_factor=options.fuse_resize == "by_factor",
                    )
                    for _ in range(modules)
                )
            )
            self.add_module(f"stage{stage}", exchange)
            before = now

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images to four layers, finest first."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        maps: tuple[Tensor, ...] = (self.layer1(x),)
        for stage in (2, 3, 4):
            steps: nn.ModuleList = getattr(self, f"transition{stage - 1}")
            # a new branch grows from the coarsest one
            maps = tuple(step(x) for step, x in zip(steps, (*maps, maps[-1]), strict=True))
            maps = getattr(self, f"stage{stage}")(maps)
        return maps


class ExchangeModule(nn.Module):
    """Parallel branches of residual blocks, then every branch receives the sum of all (paper, figure 3)."""

    def __init__(
        self, widths: Sequence[int], blocks: int, *, momentum: float, align_corners: bool, by_factor: bool = False
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.by_factor = by_factor
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, momentum=momentum) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(widths, source, to, momentum=momentum) for source in range(len(widths)))
            for to in range(len(widths))
        )

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Map (N, c_b, h_b, w_b) of every branch b to maps of the same shapes."""
        maps = tuple(branch(x) for branch, x in zip(self.branches, maps, strict=True))
        return tuple(self._fuse(to, maps) for to in range(len(maps)))

    def _fuse(self, to: int, maps: tuple[Tensor, ...]) -> Tensor:
        size = maps[to].shape[-2:]
        total: Tensor | None = None
        for source, layer in enumerate(self.fuse_layers[to].children()):  # summed from the finest on
            term = layer(maps[source])
            if source > to:
                if self.by_factor:
                    term = F.interpolate(
                        term, scale_factor=2 ** (source - to), mode="bilinear", align_corners=self.align_corners
                    )
                term = F.interpolate(term, size=size, mode="bilinear", align_corners=self.align_corners)
            total = term if total is None else total + term
        assert total is not None
        return F.relu(total)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016, figure 5 left)."""

    def __init__(self, width: int, *, momentum: float) -> None:
        super().__init__()
        self.conv1 = _conv(width, width, 3)
        self.bn1 = nn.BatchNorm2d(width, momentum=momentum)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c, h, w) to the same shape."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + x, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut (He et al. 2016, figure 5 right)."""

    def __init__(self, channels: int, width: int, *, momentum: float) -> None:
        super().__init__()
        out = width * EXPANSION
        self.conv1 = _conv(channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width, momentum=momentum)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width, momentum=momentum)
        self.conv3 = _conv(width, out, 1)
        self.bn3 = nn.BatchNorm2d(out, momentum=momentum)
        self.downsample: nn.Module | None = None
        if channels != out:
            self.downsample = nn.Sequential(_conv(channels, out, 1), nn.BatchNorm2d(out, momentum=momentum))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to (N, 4 * width, h, w)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


def _conv(channels: int, out: int, kernel: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False)


def _conv_bn(channels: int, out: int, kernel: int, *, stride: int, relu: bool, momentum: float) -> nn.Sequential:
    layers: list[nn.Module] = [
        _conv(channels, out, kernel, stride=stride),
        nn.BatchNorm2d(out, momentum=momentum),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _transition(before: Sequence[int], now: Sequence[int], *, momentum: float) -> nn.ModuleList:
    """Build the transition to the next stage, which has one branch more."""
    steps: list[nn.Module] = []
    for old, new in zip(before, now, strict=False):
        same = old == new
        steps.append(nn.Identity() if same else _conv_bn(old, new, 3, stride=1, relu=True, momentum=momentum))
    steps.append(nn.Sequential(_conv_bn(before[-1], now[-1], 3, stride=2, relu=True, momentum=momentum)))
    return nn.ModuleList(steps)


def _exchange(widths: Sequence[int], source: int, to: int, *, momentum: float) -> nn.Module:
    """Build the path between two branches: identity, 1x1 to a finer one, 3x3/2 steps to a coarser one."""
    if source == to:
        return nn.Identity()
    if source > to:
        return _conv_bn(widths[source], widths[to], 1, stride=1, relu=False, momentum=momentum)
    # the width grows in the last step only, which has no ReLU
    path = [widths[source]] * (to - source) + [widths[to]]
    return nn.Sequential(
        *(
            _conv_bn(a, b, 3, stride=2, relu=step < to - source, momentum=momentum)
            for step, (a, b) in enumerate(pairwise(path), start=1)
        )
    )
