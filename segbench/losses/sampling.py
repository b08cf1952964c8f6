"""Ranks within groups, the basis of every draw of so many pixels per (image, class).

One sort ranks all groups at once, without a loop over classes and without reading a value of a tensor.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_KEY_BITS = 63  # of a non-negative int64
_LEAST_TIE_BITS = 16


class Ranks(NamedTuple):
    """Ranks within groups.

    Attributes:
        ranks: (P,) int64, 0 for the first element of its group.
        sizes: (num_groups + 1,) int64, number of elements of each group; the last counts those in no group.
    """

    ranks: Tensor
    sizes: Tensor


def rank_in_groups(
    groups: Tensor,
    order: Tensor | None = None,
    *,
    num_groups: int,
    order_limit: int = 1,
    generator: torch.Generator | None = None,
) -> Ranks:
    """Rank every element within its group by ascending order.

    Args:
        groups: (P,) int64 in 0..num_groups; ``num_groups`` stands for "in no group".
        order: (P,) integers >= 0, or None if all are equal; values from ``order_limit`` on count as equal.
        num_groups: number of groups.
        order_limit: largest distinguished order plus one.
        generator: draws the order of ties, on the device of ``groups``; None keeps their order.

    Raises:
        ValueError: groups times orders leave too few bits for the draw.
    """
    keys = groups.long()
    if order is not None:
        keys = keys * order_limit + order.long().clamp(max=order_limit - 1)
    if generator is not None:
        tie_bits = _KEY_BITS - ((num_groups + 1) * order_limit).bit_length()
        if tie_bits < _LEAST_TIE_BITS:
            raise ValueError(f"{num_groups} groups with orders up to {order_limit} do not fit one sort key")
        ties = torch.randint(2**tie_bits, keys.shape, generator=generator, device=keys.device)
        keys = (keys << tie_bits) | ties
    positions = torch.argsort(keys, stable=True)
    sizes = torch.zeros(num_groups + 1, dtype=torch.int64, device=keys.device)
    sizes.scatter_add_(0, groups, torch.ones_like(groups))
    starts = sizes.cumsum(0) - sizes
    ranks_sorted = torch.arange(len(groups), device=keys.device) - starts[groups[positions]]
    return Ranks(torch.empty_like(ranks_sorted).scatter_(0, positions, ranks_sorted), sizes)


def image_class_groups(labels: Tensor, *, num_classes: int) -> Tensor:
    """Return the group ids ``image * num_classes + label`` of all pixels.

    Args:
        labels: (N, h, w) integers; those outside 0..C-1, such as ignored ones, are in no group.

    Returns:
        (N * h * w,) int64; ``N * num_classes`` for pixels in no group.
    """
    images = torch.arange(len(labels), device=labels.device)[:, None, None]
    labelled = (labels >= 0) & (labels < num_classes)
    return torch.where(labelled, images * num_classes + labels, len(labels) * num_classes).flatten()
