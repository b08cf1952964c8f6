"""Entropy of predictions as a loss (SemiSeg-Contrastive, arXiv 2104.13415; released code)."""

import math

from torch import Tensor

from .precision import at_least_float32


def normalized_entropy(logits: Tensor, valid: Tensor, *, broadcast: bool = False) -> Tensor:
    """Return the mean entropy over the valid pixels, divided by log C so that it lies in [0, 1]; 0 if there are none.

    Args:
        logits: (N, C, H, W).
        valid: (N, H, W) bool.
        broadcast: the sum runs over all pairs of images i, j, the mask of i times the entropy of j, over the same
            denominator, as a mask with one dimension too many does in the released code until October 2021. With every
            pixel valid that is N times the mean.

    Returns:
        A scalar in float32 (float64 for float64 logits), always differentiable.
    """
    log_p = at_least_float32(logits).log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1) / math.log(logits.shape[1])
    mask = valid.to(entropy)
    total = (mask.sum(0) * entropy.sum(0)).sum() if broadcast else (mask * entropy).sum()
    return total / mask.sum().clamp(min=1)
