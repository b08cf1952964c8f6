"""Stochastic depth (Huang et al. 2016, arXiv 1603.09382, section 3), scaled in training as dropout is."""

from typing import Literal

from torch import Tensor, nn


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
