"""Contrastive loss of SemiSeg-Contrastive between features and a class-wise memory (arXiv 2104.13415; released code).

Positive pairs alone: every feature is drawn to the memory's vectors of its class.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .precision import at_least_float32, without_autocast


def memory_contrast(
    features: Tensor,
    labels: Tensor,
    valid: Tensor,
    memory: Tensor,
    filled: Tensor,
    *,
    feature_scores: Tensor,
    memory_scores: Tensor | None = None,
) -> Tensor:
    """Return the mean over the C classes of mean_ij(a_i b_j (1 - cos(f_i, m_j))), in float32 (float64 stays).

    i runs over the M features of a class and j over its K vectors; a_i is M s_i / sum(s) with the scores s of these
    features and b_j is likewise for the vectors, or 1. A class with fewer than two features or two vectors counts 0.
    As cos is bilinear, a feature meets the weighted mean of the vectors and no M x K matrix exists.

    Args:
        features: (N, D) of any length.
        labels: (N,) int64 in 0..C-1 wherever ``valid``.
        valid: (N,) bool, features that take part.
        memory: (C, K, D) vectors of any length, without gradient.
        filled: (C, K) bool, vectors that exist.
        feature_scores: (N,) in (0, 1), which take a gradient.
        memory_scores: (C, K) in (0, 1); None weights all vectors alike.
    """
    features, feature_scores = at_least_float32(features), at_least_float32(feature_scores)
    classes = memory.shape[0]
    with without_autocast(features):
        units = F.normalize(memory.to(features), dim=2)
        shares = filled.to(features)
        if memory_scores is not None:
            shares = shares * memory_scores.to(features)
        shares = shares / shares.sum(1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)
        centres = (shares[:, :, None] * units).sum(1)  # (C, D): sum_j b_j m_j / K
        members = labels.where(valid, classes)[:, None] == torch.arange(classes, device=labels.device)
        enough = (members.sum(0) > 1) & (filled.sum(1) > 1)
        # Products with all classes are C / D of the work of one layer, and need no gather.
        distances = 1 - F.normalize(features, dim=1) @ centres.T
        weights = members * feature_scores[:, None]
        totals = weights.sum(0)
        means = (weights * distances).sum(0) / totals.where(enough, 1)
        return means.where(enough, 0).sum() / classes
