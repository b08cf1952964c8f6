"""Class-wise memory bank of SemiSeg-Contrastive (Alonso et al., ICCV 2021, arXiv 2104.13415; released code).

One ring buffer a class in one tensor, written in place and read as a view. No value of a tensor is read, so nothing
waits for the device.
"""

from typing import Literal

import torch
from torch import Tensor, nn


class ClassMemory(nn.Module):
    """The newest feature vectors of every class.

    Args:
        num_classes: C.
        size: S, vectors kept of a class.
        dim: D, of a vector.
    """

    store: Tensor
    filled: Tensor
    heads: Tensor

    def __init__(self, num_classes: int, size: int, dim: int) -> None:
        super().__init__()
        self.num_classes, self.size = num_classes, size
        # One more row takes what is dropped, so that every update writes equally many rows.
        self.register_buffer("store", torch.zeros(num_classes * size + 1, dim))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("heads", torch.zeros(num_classes, dtype=torch.int64))

    @property
    def vectors(self) -> Tensor:
        """All vectors (C, S, D), float32, without a copy; which of them have been written: `mask`."""
        return self.store[:-1].view(self.num_classes, self.size, -1)

    def mask(self) -> Tensor:
        """Return which vectors have been written, bool (C, S)."""
        return torch.arange(self.size, device=self.filled.device) < self.filled[:, None]

    @torch.no_grad()
    def add(
        self,
        vectors: Tensor,
        labels: Tensor,
        keep: Tensor,
        scores: Tensor,
        *,
        limit: int,
        rank: Literal["lowest", "highest"],
    ) -> None:
        """Add vectors as they are, at most ``limit`` of a class, over the oldest ones.

        Args:
            vectors: (N, D) of any floating type.
            labels: (N,) int64 in 0..C-1 wherever ``keep``.
            keep: (N,) bool, the candidates.
            scores: (N,), which decide if a class has more candidates.
            limit: most vectors of a class; no more than S.
            rank: whether those of the lowest or of the highest scores enter.
        """
        limit = min(limit, self.size)
        number, device = len(labels), labels.device
        groups = torch.where(keep, labels, self.num_classes)
        by_score = scores.argsort(stable=True, descending=rank == "highest")
        order = by_score[groups[by_score].argsort(stable=True)]  # by class, then by score
        sorted_groups = groups[order]
        counts = torch.zeros(self.num_classes + 1, dtype=torch.int64, device=device)
        counts = counts.scatter_add_(0, groups, torch.ones_like(groups))
        begins = counts.cumsum(0) - counts
        ranks = torch.arange(number, device=device) - begins[sorted_groups]
        taken = (sorted_groups < self.num_classes) & (ranks < limit)
        slots = torch.where(taken, sorted_groups * limit + ranks, self.num_classes * limit)
        found = torch.full((self.num_classes * limit + 1,), -1, device=device).scatter_(0, slots, order)
        found = found[:-1].view(self.num_classes, limit)
        places = (self.heads[:, None] + torch.arange(limit, device=device)) % self.size
        rows = torch.arange(self.num_classes, device=device)[:, None] * self.size + places
        rows = torch.where(found >= 0, rows, len(self.store) - 1)
        new = vectors[found.clamp(min=0).flatten()].to(self.store)
        self.store.index_copy_(0, rows.flatten(), new)
        self.store[-1].zero_()
        added = counts[:-1].clamp(max=limit)
        self.heads.copy_((self.heads + added) % self.size)
        self.filled.copy_((self.filled + added).clamp(max=self.size))
