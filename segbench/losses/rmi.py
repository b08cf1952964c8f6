"""Region mutual information (RMI; Zhao et al., NeurIPS 2019, arXiv 1910.12037) of labels and scores.

Facts: the authors' released code. Of every class, labels Y (one-hot) and scores P (sigmoid) are shrunk by pooling; all
windows of r x r are points of r^2 numbers, whose scatter matrices S, not divided by their number, give

    M = S_YY - S_YP (S_PP + alpha I)^-1 S_PY,    I = 1/2 log det(M + alpha I),

the negative of a lower bound of the mutual information. M + alpha I is the Schur complement of the scores in the
scatter matrix of both together plus alpha I; half its log-determinant is read off that matrix's Cholesky factor, which
needs no inverse and cannot break down: no eigenvalue lies below alpha.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .pixel_anchor import class_masks
from .precision import at_least_float32

_LEAST = 1e-6  # added to every score


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return RMI's companion loss: the sum over labelled pixels and classes, divided by the number of pixels plus 1.

    Args:
        logits: (N, C, H, W), any floating type.
        target: (N, H, W) integers; those outside 0..C-1 are ignored.

    Returns:
        A scalar in float32 (float64 for float64 logits).
    """
    masks = class_masks(target, num_classes=logits.shape[1])
    labelled = masks.any(1)
    logits = at_least_float32(logits)
    losses = F.binary_cross_entropy_with_logits(logits, masks.to(logits.dtype), reduction="none").sum(1)
    return torch.where(labelled, losses, 0).sum() / (labelled.sum() + 1)


def region_mutual_information(
    logits: Tensor,
    target: Tensor,
    *,
    side: int = 3,
    pool: Literal["max", "mean"] = "max",
    pool_size: int = 3,
    alpha: float = 1e-3,
) -> Tensor:
    """Return the sum over classes and mean over images of I / side^2, computed in float64.

    A class without labelled pixels contributes log(alpha) / 2 and no gradient.

    Args:
        logits: (N, C, H, W), any floating type.
        target: (N, H, W) integers; those outside 0..C-1 are ignored: their labels and scores are 0.
        side: r, side of the windows.
        pool: how maps are downsampled; zeros around the map count in means.
        pool_size: side and stride of the pooling, with half of it as padding; 1 for none.
        alpha: regularisation.

    Returns:
        A scalar in float32 (float64 for float64 logits).

    Raises:
        ValueError: the pooled map is smaller than a window.
    """
    masks = class_masks(target, num_classes=logits.shape[1])
    logits = at_least_float32(logits)
    scores = logits.sigmoid() * masks.any(1, keepdim=True) + _LEAST
    maps = torch.stack([scores, masks.to(logits.dtype)], 2)  # (N, C, 2, H, W)
    points = _windows(_shrunk(maps, pool, pool_size).double(), side)
    points = points - points.mean(-1, keepdim=True)
    scatter = points @ points.mT + alpha * torch.eye(points.shape[-2], dtype=points.dtype, device=points.device)
    factor = torch.linalg.cholesky_ex(scatter).L  # the plain one waits for the device to check success
    halves = factor.diagonal(dim1=-2, dim2=-1)[..., side**2 :].log().sum(-1)
    return (halves.sum(1).mean() / side**2).to(logits.dtype)


def _shrunk(maps: Tensor, pool: Literal["max", "mean"], size: int) -> Tensor:
    """Pool (N, C, 2, H, W) to (N, C, 2, h, w)."""
    if size == 1:
        return maps
    pooling = F.max_pool2d if pool == "max" else F.avg_pool2d
    pooled: Tensor = pooling(maps.flatten(0, 2)[:, None], size, size, padding=size // 2)
    return pooled.view(*maps.shape[:3], *pooled.shape[-2:])


def _windows(maps: Tensor, side: int) -> Tensor:
    """Return all windows of (N, C, 2, h, w) maps as points (N, C, 2 * side^2, P), those of the first map first."""
    height, width = (length - side + 1 for length in maps.shape[-2:])
    if min(height, width) < 1:
        raise ValueError(f"no window of {side}x{side} fits into a map of {tuple(maps.shape[-2:])}")
    shifted = [maps[..., y : y + height, x : x + width] for y in range(side) for x in range(side)]
    return torch.stack(shifted, 3).flatten(4).flatten(2, 3)
