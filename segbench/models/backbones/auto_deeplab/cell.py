"""The cell that Auto-DeepLab found (Liu et al. 2019, arXiv 1901.02985, figure 3; released code, core/nas_cell.py)."""

from collections import OrderedDict
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.backbones.drop_path import ScheduledDropPath


class Operation(NamedTuple):
    """One of a block's two operations: what it is, its kernel, and the state that it reads."""

    kind: Literal["separable", "atrous"]
    kernel: int
    state: int


# Each block adds two operations to a new state. State 0 is the cell before, 1 the one before that, 2 the first block.
BLOCKS = (
    (Operation("atrous", 5, 1), Operation("separable", 3, 0)),
    (Operation("separable", 3, 1), Operation("atrous", 3, 0)),
    (Operation("separable", 3, 3), Operation("separable", 3, 1)),
    (Operation("separable", 5, 4), Operation("separable", 5, 2)),
    (Operation("separable", 5, 3), Operation("atrous", 5, 5)),
)
INPUTS = 2
RATE = 2  # dilation of an atrous convolution that keeps the size


class Norm(NamedTuple):
    """Settings of batch norms."""

    momentum: float
    eps: float

    def __call__(self, channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, momentum=self.momentum, eps=self.eps)


class Cell(nn.Module):
    """Five blocks on the outputs of the two cells before; the new states concatenated.

    Args:
        previous: channels of the cell before.
        earlier: channels of the cell before that.
        filters: channels of every state; the output has five times as many.
        down: whether the output has half the resolution of the inputs.
        drop_path: probability of dropping an operation's output at the end of the training.
        norm: of all batch norms.
        align_corners: how resizes sample.
    """

    def __init__(
        self,
        previous: int,
        earlier: int,
        filters: int,
        *,
        down: bool,
        drop_path: float,
        norm: Norm,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.prepare = _prepare(previous, filters, norm=norm)
        self.prepare_earlier = nn.Identity() if earlier == filters else _prepare(earlier, filters, norm=norm)
        self.left, self.right = (
            nn.ModuleList(
                _operation(op, filters, halve=down and op.state < INPUTS, norm=norm, align_corners=align_corners)
                for op in side
            )
            for side in zip(*BLOCKS, strict=True)
        )
        self.drop_path = ScheduledDropPath(drop_path)

    def forward(self, previous: Tensor, earlier: Tensor, size: Size) -> Tensor:
        """Compute the cell at ``size``, to which both inputs are brought first; a down cell halves it, rounding up.

        Args:
            previous: (N, previous, h, w).
            earlier: (N, earlier, h', w').
            size: of both inputs within the cell.

        Returns:
            (N, 5 * filters, H, W).
        """
        inputs = (resize(x, size, align_corners=self.align_corners) for x in (previous, earlier))
        states = [prepare(x) for prepare, x in zip((self.prepare, self.prepare_earlier), inputs, strict=True)]
        active: list[Tensor] = []  # every operation begins with a ReLU; those of one state share it
        for pair, left, right in zip(BLOCKS, self.left, self.right, strict=True):
            active += [F.relu(state) for state in states[len(active) :]]
            one, other = (active[op.state] for op in pair)
            states.append(self.drop_path(left(one)) + self.drop_path(right(other)))
        return torch.cat(states[INPUTS:], dim=1)


class Atrous(nn.Module):
    """Dilated convolution and batch norm; where it halves the size, a resize and a plain convolution instead."""

    def __init__(self, filters: int, kernel: int, *, halve: bool, norm: Norm, align_corners: bool) -> None:
        super().__init__()
        self.halve, self.align_corners = halve, align_corners
        rate = 1 if halve else RATE
        self.conv = nn.Conv2d(filters, filters, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False)
        self.norm = norm(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, filters, h, w) to the same shape, or half of it rounded up."""
        if self.halve:
            x = resize(x, (-(-x.shape[-2] // 2), -(-x.shape[-1] // 2)), align_corners=self.align_corners)
        result: Tensor = self.norm(self.conv(x))
        return result


def resize(x: Tensor, size: Size, *, align_corners: bool) -> Tensor:
    """Bring (N, c, h, w) bilinearly to ``size``."""
    if x.shape[-2:] == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def _prepare(channels: int, filters: int, *, norm: Norm) -> nn.Sequential:
    conv = nn.Conv2d(channels, filters, 1, bias=False)
    return nn.Sequential(OrderedDict(act=nn.ReLU(), conv=conv, norm=norm(filters)))


def _operation(op: Operation, filters: int, *, halve: bool, norm: Norm, align_corners: bool) -> nn.Module:
    if op.kind == "atrous":
        return Atrous(filters, op.kernel, halve=halve, norm=norm, align_corners=align_corners)
    return nn.Sequential(
        OrderedDict(
            depthwise1=_depthwise(filters, op.kernel, stride=2 if halve else 1),
            pointwise1=nn.Conv2d(filters, filters, 1, bias=False),
            norm1=norm(filters),
            act=nn.ReLU(inplace=True),
            depthwise2=_depthwise(filters, op.kernel, stride=1),
            pointwise2=nn.Conv2d(filters, filters, 1, bias=False),
            norm2=norm(filters),
        )
    )


def _depthwise(filters: int, kernel: int, *, stride: int) -> nn.Conv2d:
    return nn.Conv2d(filters, filters, kernel, stride=stride, padding=kernel // 2, groups=filters, bias=False)
