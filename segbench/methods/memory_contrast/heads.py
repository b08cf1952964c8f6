"""Heads of SemiSeg-Contrastive that only training has: projection, prediction, and selectors of every class."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.losses.precision import at_least_float32

_TILE = 128  # rows of one product of a selector; every class is padded to whole tiles


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of (N, D) whose statistics are those of the valid rows alone."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalise rows; those that are not valid get values that mean nothing.

        Args:
            x: (N, D).
            valid: (N,) bool; None for all. With fewer than two valid rows the running statistics stay as they are.
        """
        if not self.training or valid is None:
            return super().forward(x)
        values, mask = at_least_float32(x), valid[:, None].to(at_least_float32(x))
        count = mask.sum()
        mean = (values * mask).sum(0) / count.clamp(min=1)
        variance = ((values - mean).square() * mask).sum(0) / count.clamp(min=1)
        with torch.no_grad():
            _follow(self, mean[None], variance[None], count[None])
        normalised = (values - mean) * (variance + self.eps).rsqrt()
        return (normalised * self.weight + self.bias).to(x.dtype)


class Mlp(nn.Module):
    """Linear, batch normalisation, ReLU, linear, on rows: the projection and the prediction head."""

    def __init__(self, channels: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(channels, hidden)
        self.norm = MaskedBatchNorm(hidden)
        self.second = nn.Linear(hidden, dim)

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """Map (N, channels) to (N, dim); ``valid`` (N,) bool are the rows that the statistics are of."""
        out: Tensor = self.second(F.relu(self.norm(self.first(features), valid)))
        return out


class Selectors(nn.Module):
    """One network a class that scores feature vectors: linear, batch normalisation, leaky ReLU, linear, sigmoid.

    The networks are stacked. Features are sorted by class and every class is padded to whole tiles of rows, whose
    number depends on N and C alone, so the work is that of one network and nothing waits for the device.

    Args:
        num_classes: C.
        dim: D, of a feature.
        slope: of the leaky ReLU.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_classes: int, dim: int, *, slope: float = 0.2) -> None:
        super().__init__()
        self.num_classes, self.slope, self.eps, self.momentum = num_classes, slope, 1e-5, 0.1
        bound = 1 / math.sqrt(dim)  # as nn.Linear: uniform in +-1/sqrt(fan_in), weights and biases

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))

        self.weight1, self.bias1 = uniform(num_classes, dim, dim), uniform(num_classes, dim)
        self.weight, self.bias = nn.Parameter(torch.ones(num_classes, dim)), nn.Parameter(torch.zeros(num_classes, dim))
        self.weight2, self.bias2 = uniform(num_classes, dim), uniform(num_classes)
        self.register_buffer("running_mean", torch.zeros(num_classes, dim))
        self.register_buffer("running_var", torch.ones(num_classes, dim))

    def forward(self, features: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """Score features by the selector of their class, in float32 (float64 stays).

        Args:
            features: (N, D).
            labels: (N,) int64 in 0..C-1 wherever ``valid``.
            valid: (N,) bool; only these enter the statistics.

        Returns:
            (N,) in (0, 1), 0 where not valid.
        """
        number, device = len(labels), labels.device
        tile = min(_TILE, max(1, number))
        groups = torch.where(valid, labels, self.num_classes)
        counts = torch.zeros(self.num_classes + 1, dtype=torch.int64, device=device)
        counts = counts.scatter_add_(0, groups, torch.ones_like(groups))
        tiles = (counts[:-1] + tile - 1) // tile
        ends = tiles.cumsum(0)
        order = groups.argsort(stable=True)
        ranks = torch.arange(number, device=device) - (counts.cumsum(0) - counts)[groups[order]]
        total = -(-number // tile) + self.num_classes  # tiles there are at most
        begins = F.pad((ends - tiles) * tile, (0, 1), value=total * tile)
        # Rows that are not valid share one slot behind all tiles.
        slots = (begins[groups[order]] + ranks).clamp(max=total * tile)
        rows = torch.full((total * tile + 1,), number, device=device).scatter_(0, slots, order)[:-1]
        owner = torch.searchsorted(ends, torch.arange(total, device=device), right=True).clamp(max=self.num_classes - 1)
        padded = F.pad(features, (0, 0, 0, 1))
        scores = self._scores(padded[rows].view(total, tile, -1), owner, (rows < number).view(total, tile), counts[:-1])
        place = torch.empty_like(order).scatter_(0, order, slots)
        return F.pad(scores.flatten(), (0, 1))[place].where(valid, 0)

    def of_memory(self, vectors: Tensor, filled: Tensor) -> Tensor:
        """Score vectors (C, K, D) by their class, of which ``filled`` (C, K) exist; returns (C, K)."""
        owner = torch.arange(self.num_classes, device=vectors.device)
        return self._scores(vectors, owner, filled, filled.sum(1)).where(filled, 0)

    def _scores(self, x: Tensor, owner: Tensor, valid: Tensor, counts: Tensor) -> Tensor:
        """Score tiles (T, R, D) of the classes ``owner`` (T,), with ``counts`` (C,) valid rows each."""
        hidden = at_least_float32(torch.baddbmm(self.bias1[owner][:, None], x, self.weight1[owner].transpose(1, 2)))
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mask = valid[..., None].to(hidden)
            belongs = (owner[None] == torch.arange(self.num_classes, device=owner.device)[:, None]).to(hidden)
            number = counts.clamp(min=1)[:, None]
            mean = belongs @ (hidden * mask).sum(1) / number
            variance = belongs @ ((hidden - mean[owner][:, None]).square() * mask).sum(1) / number
            with torch.no_grad():
                _follow(self, mean, variance, counts)
        scale = self.weight * (variance.to(hidden) + self.eps).rsqrt()
        shift = self.bias - mean.to(hidden) * scale
        out = F.leaky_relu(hidden * scale[owner][:, None] + shift[owner][:, None], self.slope)
        return ((out * self.weight2[owner][:, None]).sum(2) + self.bias2[owner][:, None]).sigmoid()


def _follow(norm: MaskedBatchNorm | Selectors, mean: Tensor, variance: Tensor, counts: Tensor) -> None:
    """Move running statistics as nn.BatchNorm1d does, where there are at least two rows.

    Args:
        norm: (D,) or (G, D) running statistics.
        mean, variance: (G, D), the variance biased.
        counts: (G,) rows.
    """
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    enough = (counts > 1)[:, None]
    unbiased = variance * counts[:, None] / (counts[:, None] - 1).clamp(min=1)
    for running, new in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        moved = running + norm.momentum * (new.to(running) - running)
        running.copy_(moved.where(enough, running).view_as(running))
    if isinstance(norm, nn.BatchNorm1d) and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
