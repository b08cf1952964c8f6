"""Pixel cross-entropy."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .precision import at_least_float32


def cross_entropy(
    logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None, ignore_index: int = 255
) -> Tensor:
    """Return the weighted mean over the labelled pixels, sum(w_y * nll) / sum(w_y); 0 if nothing is labelled.

    Args:
        logits: (N, C, H, W), already resized to the target; any floating type.
        target: (N, H, W) int64 in 0..C-1 or ``ignore_index``.
        class_weights: (C,) or None for equal weights.
        ignore_index: label that is ignored.

    Returns:
        A scalar in float32 (float64 for float64 logits), always differentiable.

    Raises:
        ValueError: logits and target differ in size.
    """
    if logits.shape[-2:] != target.shape[-2:]:
        raise ValueError(f"the logits are {tuple(logits.shape)}, which does not fit a target of {tuple(target.shape)}")
    logits = at_least_float32(logits)
    weights = None if class_weights is None else class_weights.to(logits)
    losses = F.cross_entropy(logits, target, weight=weights, ignore_index=ignore_index, reduction="none")
    total = labelled_weight(target, class_weights=weights, ignore_index=ignore_index).to(losses.dtype)
    # An empty batch keeps its graph, without a division by zero.
    return losses.sum() / torch.where(total > 0, total, torch.ones_like(total))


def labelled_weight(target: Tensor, *, class_weights: Tensor | None = None, ignore_index: int = 255) -> Tensor:
    """Return the denominator of the cross-entropy: the sum of w_y over the labelled pixels, a scalar.

    Args:
        target: (N, H, W) int64 in 0..C-1 or ``ignore_index``.
        class_weights: (C,) or None for equal weights, which gives the number of labelled pixels (int64).
        ignore_index: label that is ignored.
    """
    labelled = target != ignore_index
    if class_weights is None:
        return labelled.sum()
    return torch.where(labelled, class_weights[torch.where(labelled, target, 0)], 0).sum()
