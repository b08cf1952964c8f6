"""Contrast between the features of a student and a teacher (CFN, ICIP 2025), as meant and as its public code has it.

No text gives the loss. ``info_nce`` is what the supplement's prose describes, ``column_sums`` what the public code
computes, ``spatial`` a variant that a single image suffices for.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .precision import at_least_float32, without_autocast


def image_info_nce(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Return the symmetric InfoNCE over the images of a batch: -(log row softmax_ii + log column softmax_ii) / 2.

    Args:
        student: (N, ...) features, one L2-normalised vector an image.
        teacher: (N, ...) of the same shape.
        temperature: tau, which divides the similarities.

    Returns:
        A scalar in float32 (float64 stays); 0 for a single image.
    """
    first, second = (F.normalize(at_least_float32(each).flatten(1), dim=1) for each in (student, teacher))
    with without_autocast(first):
        return _symmetric((first @ second.T / temperature)[None]).mean()


def place_info_nce(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Return the same over the places of each image, the mean over the images.

    Args:
        student: (N, D, h, w) features, one L2-normalised vector a place.
        teacher: (N, D, h, w).
        temperature: tau.
    """
    first, second = (F.normalize(at_least_float32(each).flatten(2), dim=1) for each in (student, teacher))
    with without_autocast(first):
        return _symmetric(first.transpose(1, 2) @ second / temperature).mean()


def column_sums(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Return 2 (mean_j log sum_i exp S_ij - mean_ij S_ij) with raw products S over tau, as the public code comes to.

    All pairs count alike, so nothing is aligned; a single image gives 0.

    Args:
        student: (N, ...) features, one vector an image.
        teacher: (N, ...) of the same shape.
        temperature: tau.
    """
    first, second = (at_least_float32(each).flatten(1) for each in (student, teacher))
    with without_autocast(first):
        products = first @ second.T / temperature
        return 2 * (products.logsumexp(0).mean() - products.mean())


def _symmetric(similarities: Tensor) -> Tensor:
    """Return the symmetric cross-entropy of (N, M, M) similarities with their diagonals, (N,)."""
    own = similarities.diagonal(dim1=1, dim2=2)
    terms = torch.stack([similarities.logsumexp(axis) - own for axis in (1, 2)])
    return terms.mean((0, 2))
