"""Auto-DeepLab's encoder (Liu et al. 2019, arXiv 1901.02985, figure 3; released code, core/nas_network.py).

TensorFlow pads strided convolutions as here only for sides of 32k + 1, e.g. crops of 769 and images of 1025x2049. There
it enlarges n rows to 2n - 1 where a cell is finer than the one before, which are as many as the level had before. That
number is taken for other sides too, so that the output keeps its stride.
"""

from collections import OrderedDict
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.segmentor import Backbone

from .cell import BLOCKS, Cell, Norm
from .options import Options

STEM_STRIDE = 4


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone with uniform convolutions of variance 1 / (3 fan-in), as the released code starts.

    Over the fan-in TensorFlow counts every channel of the map, for depthwise kernels too.
    """
    network = AutoDeepLab(options, align_corners=align_corners)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bound = (module.in_channels * prod(module.kernel_size)) ** -0.5
            nn.init.uniform_(module.weight, -bound, bound)
    return network


class AutoDeepLab(Backbone):
    """Stem at stride 4, then cells that read the two before them, each at the resolution of its level.

    ``forward`` takes (N, 3, H, W) with H, W >= 32 and gives two layers, sizes rounded up: the last cell before the
    first down cell, which the decoder reads (the third one: 5 * ``filters`` channels at stride 4), and the ReLU of the
    last cell (10 * ``filters`` channels at stride 8).
    """

    def __init__(self, options: Options, *, align_corners: bool) -> None:
        super().__init__()
        norm = Norm(options.bn_momentum, options.bn_eps)
        stem, self.path = options.stem_channels, options.path
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False),
                norm1=norm(stem),
                act=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(stem, stem, 3, padding=1, bias=False),
                norm2=norm(stem),
            )
        )
        conv = nn.Conv2d(stem, 2 * stem, 3, stride=2, padding=1, bias=False)
        self.stem_end = nn.Sequential(OrderedDict(act=nn.ReLU(), conv=conv, norm=norm(2 * stem)))
        self.cells = nn.ModuleList()
        earlier, previous, at = stem, 2 * stem, 0
        for number, level in enumerate(self.path, start=1):
            filters = options.filters * 2**level
            cell = Cell(
                previous,
                earlier,
                filters,
                down=level > at,
                drop_path=options.drop_path * number / len(self.path),
                norm=norm,
                align_corners=align_corners,
            )
            self.cells.append(cell)
            earlier, previous, at = previous, len(BLOCKS) * filters, level
        self._fine = next((cell for cell, level in enumerate(self.path) if level), len(self.path)) - 1
        self.layer_channels = (len(BLOCKS) * options.filters, previous)
        self.layer_strides = (STEM_STRIDE, STEM_STRIDE * 2**at)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images to two layers, finest first."""
        earlier = fine = self.stem(images)
        previous = self.stem_end(earlier)
        at, sizes = 0, {0: _size(previous)}
        for number, (cell, level) in enumerate(zip(self.cells, self.path, strict=True)):
            # a down cell works at the size that it halves, any other at that of its own level
            earlier, previous = previous, cell(previous, earlier, sizes[min(at, level)])
            at = level
            sizes.setdefault(level, _size(previous))
            if number == self._fine:
                fine = previous
        return fine, F.relu(previous)


def _size(x: Tensor) -> Size:
    return x.shape[-2], x.shape[-1]
