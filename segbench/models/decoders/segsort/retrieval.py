"""Votes of the prototypes of a bank (SegSort, section 3.4 on retrieval by nearest neighbours)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .clustering import exactly

_CHUNK_ELEMENTS = 2**25  # similarities that exist at a time


@torch.no_grad()
def nearest_votes(
    queries: Tensor, bank: Tensor, labels: Tensor, *, num_classes: int, neighbours: int, chunk: int | None = None
) -> Tensor:
    """Return the shares of the classes among the nearest prototypes of each query, by dot product.

    Args:
        queries: (Q, D).
        bank: (K, D).
        labels: (K,) int64 in 0..C-1.
        num_classes: C.
        neighbours: k, how many vote; all of a smaller bank.
        chunk: prototypes at a time; None fits them to memory.

    Returns:
        (Q, C) in the type of ``queries``; each row sums to 1, or to 0 with an empty bank.
    """
    size = chunk or max(neighbours, _CHUNK_ELEMENTS // max(1, len(queries)))
    scores, classes = queries.new_zeros(len(queries), 0), labels.new_zeros(len(queries), 0)
    with exactly(queries):
        for some, of in zip(bank.split(size), labels.split(size), strict=True):
            found = torch.cat([scores, queries @ some.to(queries.dtype).T], dim=1)
            meant = torch.cat([classes, of.expand(len(queries), -1)], dim=1)
            best = found.topk(min(neighbours, found.shape[1]), dim=1)
            scores, classes = best.values, meant.gather(1, best.indices)
    return F.one_hot(classes, num_classes).to(queries.dtype).sum(1) / max(1, classes.shape[1])
