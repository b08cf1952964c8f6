"""Atrous spatial pyramid pooling (Chen et al. 2017, arXiv 1706.05587, section 3.3 and figure 5)."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from .layers import Norm, conv_norm_relu, separable_conv


class ASPP(nn.Module):
    """A 1x1 convolution, 3x3 convolutions at some rates and the mean over the image; optionally fused.

    Args:
        channels: of the map.
        width: channels of each branch and after the fusing convolution.
        rates: dilations of the 3x3 convolutions.
        eval_rates: their dilations in evaluation, if these differ.
        norm: of all batch norms.
        separable: make the 3x3 convolutions depthwise separable; the fusing one never is.
        image_pooling: add a branch for the image's mean.
        pooling_first: put that branch's channels first (mmsegmentation) instead of last (all others).
        project_kernel: of the fusing convolution; None to return the concatenated branches.

    Attributes:
        out_channels: channels of the result.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        rates: Sequence[int],
        eval_rates: Sequence[int] | None = None,
        norm: Norm,
        separable: bool = False,
        image_pooling: bool = True,
        pooling_first: bool = False,
        project_kernel: int | None = 1,
    ) -> None:
        super().__init__()
        self.pooling_first = pooling_first
        self.rates = {True: tuple(rates), False: tuple(eval_rates or rates)}  # by training mode
        self.branches = nn.ModuleList([conv_norm_relu(channels, width, 1, norm=norm)])
        for rate in rates:
            branch = (
                separable_conv(channels, width, norm=norm, rate=rate)
                if separable
                else conv_norm_relu(channels, width, 3, norm=norm, rate=rate)
            )
            self.branches.append(branch)
        self.pooling = conv_norm_relu(channels, width, 1, norm=norm) if image_pooling else None
        total = (len(self.branches) + image_pooling) * width
        self.out_channels = total if project_kernel is None else width
        self.project = None if project_kernel is None else conv_norm_relu(total, width, project_kernel, norm=norm)

    def train(self, mode: bool = True) -> Self:
        """Switch modes, and with them the dilations."""
        for branch, rate in zip(list(self.branches)[1:], self.rates[mode], strict=True):
            dilated = next(module for module in branch.modules() if isinstance(module, nn.Conv2d))
            dilated.dilation = dilated.padding = (rate, rate)
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to (N, out_channels, h, w)."""
        maps = [branch(x) for branch in self.branches]
        if self.pooling is not None:
            # A single value resized bilinearly is that value everywhere.
            pooled = self.pooling(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
            maps.insert(0 if self.pooling_first else len(maps), pooled)
        joined = torch.cat(maps, dim=1)
        return joined if self.project is None else self.project(joined)
