"""Pyramid pooling (Zhao et al. 2017, arXiv 1612.01105, section 3.2 and figure 3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Norm, conv_norm_relu, resize


class PyramidPooling(nn.Module):
    """A map concatenated with its means over grids of bins, each through a 1x1 convolution and resized back.

    Attributes:
        out_channels: channels of the result.
    """

    def __init__(self, channels: int, width: int, *, bins: Sequence[int], norm: Norm, align_corners: bool) -> None:
        super().__init__()
        self.bins = tuple(bins)
        self.align_corners = align_corners
        self.branches = nn.ModuleList(conv_norm_relu(channels, width, 1, norm=norm) for _ in self.bins)
        self.out_channels = channels + len(self.bins) * width

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to (N, out_channels, h, w): the map itself, then a branch for each of ``bins``."""
        size = (x.shape[-2], x.shape[-1])
        maps = [x]
        for bins, branch in zip(self.bins, self.branches, strict=True):
            pooled = branch(F.adaptive_avg_pool2d(x, bins))
            maps.append(resize(pooled, size, align_corners=self.align_corners))
        return torch.cat(maps, dim=1)
