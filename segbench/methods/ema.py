"""Exponential moving average of a network, such as a mean teacher."""

import copy
import math
from typing import Literal

import torch
from torch import Tensor, nn

from .step import StepInfo

Buffers = Literal["average", "copy", "keep"]


class EmaModel(nn.Module):
    """Copy of a network whose parameters follow it as an exponential moving average, without gradients.

    Args:
        network: to copy.
        buffers: rule for buffers such as running statistics: ``average`` them like parameters, ``copy`` those of the
            network at each update, or ``keep`` the copy's own, which its forward passes move in training mode.
            Integers are never averaged but copied.
    """

    def __init__(self, network: nn.Module, *, buffers: Buffers) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.buffer_rule = buffers

    @torch.no_grad()
    def update(self, network: nn.Module, *, decay: float) -> None:
        """Move to ``decay`` times the average plus ``1 - decay`` times the network.

        Args:
            network: of the same architecture.
            decay: in [0, 1]; 0 copies the network.
        """
        averaged: list[Tensor] = list(self.network.parameters())
        current: list[Tensor] = list(network.parameters())
        if self.buffer_rule != "keep":
            for own, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
                if self.buffer_rule == "average" and own.is_floating_point():
                    averaged.append(own)
                    current.append(theirs)
                else:
                    own.copy_(theirs)
        torch._foreach_lerp_(averaged, current, 1 - decay)


def cosine_decay(info: StepInfo, *, start: float, warmup: float) -> float:
    """Return a decay that rises to 1 along a cosine, limited at first so that the average begins as a copy.

    min(1 - (1 - start) (cos(pi t / T) + 1) / 2, 1 - 1 / (warmup t + 1)) at step t of T; Alonso et al. (ICCV 2021, arXiv
    2104.13415), released code with ``start`` 0.995 and ``warmup`` 10.
    """
    risen = 1 - (1 - start) * (math.cos(math.pi * info.progress) + 1) / 2
    return min(risen, 1 - 1 / (warmup * info.step + 1))
