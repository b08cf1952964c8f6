"""Cross-entropy on pseudo-labels by their confidence (SemiSeg-Contrastive, arXiv 2104.13415; released code)."""

import math

from torch import Tensor
from torch.nn import functional as F

from .precision import at_least_float32


def confidence_cross_entropy(
    logits: Tensor,
    target: Tensor,
    confidence: Tensor,
    *,
    power: float,
    class_weights: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Return the mean over *all* pixels of confidence^power w_y nll; an ignored pixel counts 0.

    Args:
        logits: (N, C, H, W), already resized to the target.
        target: (N, H, W) int64 in 0..C-1 or ``ignore_index``.
        confidence: (N, H, W) in [0, 1].
        power: exponent of the confidence.
        class_weights: (C,) or None for equal weights.
        ignore_index: label that is ignored.

    Returns:
        A scalar in float32 (float64 for float64 logits).
    """
    logits = at_least_float32(logits)
    weights = None if class_weights is None else class_weights.to(logits)
    losses = F.cross_entropy(logits, target, weight=weights, ignore_index=ignore_index, reduction="none")
    return (confidence.to(losses) ** power * losses).mean()


def gaussian_ramp(step: int, steps: int, *, sharpness: float = 5.0) -> float:
    """Return exp(-sharpness (1 - step/steps)^2), 1 from ``steps`` on: the weight of pseudo-labels at first."""
    return 1.0 if step >= steps else math.exp(-sharpness * (1 - step / steps) ** 2)
