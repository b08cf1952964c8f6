"""Cross-entropy on the hard pixels alone: online hard example mining (Shrivastava et al. 2016, arXiv 1604.03540)."""

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
    """Weighted mean over the hard labelled pixels; 0 when nothing is labelled or hard.

    With p the predicted probability of a pixel's true class, a labelled pixel is hard if p < ``threshold``, or if p is
    no larger than the ``min_pixels``-th smallest p of all labelled pixels: at least so many count, more where several
    are tied for the last place, and all where fewer are labelled. Which pixels are hard has no gradient.

    The rule is that of the segmentation codes of its years (CCNet's loss/loss.py, commit c7ffa75, as of OCNet and
    OpenSeg), but the smallest p is that of all pixels, where CCNet's code looks for it on a map of 1/8 of the size.

    Args:
        logits: (N, C, H, W), already resized to the target; any floating type.
        target: (N, H, W) int64 in 0..C-1 or ``ignore_index``.
        threshold: a probability above 0.
        min_pixels: a number of pixels of all N images together.
        class_weights: (C,) or None for equal weights; they do not say what is hard.
        ignore_index: label that counts for nothing.

    Returns:
        A scalar in float32 (float64 for float64 logits) that can always be differentiated.

    Raises:
        ValueError: logits and target differ in size.
    """
    if logits.shape[-2:] != target.shape[-2:]:
        raise ValueError(f"the logits are {tuple(logits.shape)}, which does not fit a target of {tuple(target.shape)}")
    logits = at_least_float32(logits)
    # The loss -log(p) says as well which p are small.
    losses = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    hard = hard_pixels(losses.detach(), target != ignore_index, threshold=threshold, min_pixels=min_pixels)
    mined = torch.where(hard, target, ignore_index)
    weights = None if class_weights is None else class_weights.to(logits)
    if weights is not None:
        losses = losses * weights[torch.where(hard, target, 0)]
    total = labelled_weight(mined, class_weights=weights, ignore_index=ignore_index).to(losses.dtype)
    return torch.where(hard, losses, 0).sum() / torch.where(total > 0, total, 1)


def hard_pixels(losses: Tensor, labelled: Tensor, *, threshold: float, min_pixels: int) -> Tensor:
    """Which pixels are hard, by the rule of `hard_cross_entropy`.

    Args:
        losses: -log(p) of every pixel, of any shape; one that is not a number is hard, so that it is not lost.
        labelled: booleans of the same shape.
        threshold: of p.
        min_pixels: the least number of pixels.

    Returns:
        Booleans of the same shape.
    """
    easy = losses <= -math.log(threshold)
    count = min(min_pixels, losses.numel())
    if count:
        ranked = torch.where(labelled, losses, -math.inf).flatten()
        easy &= losses < ranked.topk(count, sorted=False).values.amin()
    return labelled & ~easy
