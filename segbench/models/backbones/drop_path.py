"""Stochastic depth (Huang et al. 2016, arXiv 1603.09382, section 3), scaled in training as dropout is."""

from typing import Literal

import torch
from torch import Tensor, nn

from segbench.models.scheduled import Scheduled


class DropPath(nn.Module):
    """Sets a residual branch to 0 with some probability, and divides it by that of keeping it otherwise.

    Args:
        probability: of dropping, in [0, 1).
        of: whether each image is drawn for, or the batch as a whole.
    """

    def __init__(self, probability: float, *, of: Literal["images", "batch"] = "images") -> None:
        super().__init__()
        self.probability = probability
        self.of = of

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ...) to the same shape; nothing happens in evaluation."""
        if not self.training or not self.probability:
            return x
        keep = 1 - self.probability
        drawn = x.new_empty(len(x) if self.of == "images" else 1, *(1 for _ in x.shape[1:])).bernoulli_(keep)
        return x * drawn / keep


class ScheduledDropPath(Scheduled):
    """Drop path that begins with keeping everything and drops more and more (Zoph et al. 2018, arXiv 1707.07012).

    The probability grows linearly with the training's progress; each image is drawn for, and what is kept is divided
    by the probability of keeping it (DeepLab's released code, nas_cell.py).

    Args:
        probability: of dropping at the end of the training, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c, h, w) to the same shape; nothing happens in evaluation."""
        if not self.training or not self.probability:
            return x
        keep = 1 - self.probability * self.progress
        drawn = torch.rand(len(x), 1, 1, 1, device=x.device) < keep
        return x * (drawn / keep).to(x.dtype)
