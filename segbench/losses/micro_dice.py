"""Dice loss, pooled over classes and images."""

import torch
from torch import Tensor

from .precision import at_least_float32


def micro_dice_loss(probabilities: Tensor, target: Tensor, *, smooth: float = 1.0) -> Tensor:
    """Return 1 - (2 sum p y + s) / (sum p + sum y + s) with one-hot labels y, over all pixels, classes and images.

    Pooled like that it hardly minds rare classes: for hard predictions it is 1 minus the pixel accuracy.

    Args:
        probabilities: (N, C, H, W) in [0, 1].
        target: (N, H, W) int64; pixels outside 0..C-1 take no part.
        smooth: s.

    Returns:
        A scalar in float32 (float64 stays).
    """
    probabilities = at_least_float32(probabilities)
    classes = probabilities.shape[1]
    inside = (target >= 0) & (target < classes)
    of_label = probabilities.gather(1, torch.where(inside, target, 0)[:, None])[:, 0]
    common = of_label.where(inside, 0).sum()
    predicted = (probabilities.sum(1)).where(inside, 0).sum()
    return 1 - (2 * common + smooth) / (predicted + inside.sum() + smooth)
