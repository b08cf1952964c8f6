"""Cross-entropy on hard pixels only: online hard example mining (Shrivastava et al. 2016, arXiv 1604.03540)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .cross_entropy import labelled_weight
from .precision import at_least_float32


def hard_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    threshold: float,
    min_pixels: int = 0,
    class_weights: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Return the weighted cross-entropy over the hard labelled pixels; 0 if nothing is labelled or hard.

    With p the predicted probability of a pixel's true class, a labelled pixel is hard if p < ``threshold``, or if p is
    no larger than the ``min_pixels``-th smallest p of all labelled pixels: at least so many count, more with ties, and
    all if fewer are labelled. The selection has no gradient.

    The rule is that of CCNet (loss/loss.py, commit c7ffa75), OCNet and OpenSeg, but the smallest p is that of all
    pixels, while CCNet's code takes it from a map of 1/8 of the size.

    Args:
        logits: (N, C, H, W), already resized to the target; any floating type.
        target: (N, H, W) int64 in 0..C-1 or ``ignore_index``.
        threshold: a probability above 0.
        min_pixels: least number of hard pixels, in all N images together.
        class_weights: (C,) or None for equal weights; they do not affect what is hard.
        ignore_index: label that is ignored.

    Returns:
        A scalar in float32 (float64 for float64 logits), always differentiable.

    Raises:
        ValueError: logits and target differ in size.
    """
    if logits.shape[-2:] != target.shape[-2:]:
        raise ValueError(f"the logits are {tuple(logits.shape)}, which does not fit a target of {tuple(target.shape)}")
    logits = at_least_float32(logits)
    # The loss -log(p) also tells which p are small.
    losses = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    hard = hard_pixels(losses.detach(), target != ignore_index, threshold=threshold, min_pixels=min_pixels)
    mined = torch.where(hard, target, ignore_index)
    weights = None if class_weights is None else class_weights.to(logits)
    if weights is not None:
        losses = losses * weights[torch.where(hard, target, 0)]
    total = labelled_weight(mined, class_weights=weights, ignore_index=ignore_index).to(losses.dtype)
    return torch.where(hard, losses, 0).sum() / torch.where(total > 0, total, 1)


def hard_pixels(losses: Tensor, labelled: Tensor, *, threshold: float, min_pixels: int) -> Tensor:
    """Select the hard pixels by the rule of `hard_cross_entropy`.

    Args:
        losses: -log(p) of every pixel, of any shape; NaN is hard, so that it is not lost.
        labelled: bool of the same shape.
        threshold: threshold of p.
        min_pixels: least number of hard pixels.

    Returns:
        Bool of the same shape.
    """
    easy = losses <= -math.log(threshold)
    count = min(min_pixels, losses.numel())
    if count:
        ranked = torch.where(labelled, losses, -math.inf).flatten()
        easy &= losses < ranked.topk(count, sorted=False).values.amin()
    return labelled & ~easy
