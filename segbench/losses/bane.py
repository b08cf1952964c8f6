"""Boundary-aware negative sampling (BANE) of Contextrast: selection of the pixels that serve as negatives.

Facts: Contextrast++ eq. 13-14, which restates the CVPR 2024 method. Errors of a class are its pixels that are
predicted as something else; of these the K percent that lie nearest to the border of their error region are kept.
"""

import torch
from torch import Tensor

from .choices import Distance, Percentile, Sampler
from .distance import squared_distance_to_edge, squared_distance_to_other
from .sampling import image_class_groups, rank_in_groups


def error_map(labels: Tensor, predictions: Tensor, *, num_classes: int) -> Tensor:
    """Return all error maps B^n of eq. 13 in one label image: the label where it is missed, -1 elsewhere.

    Args:
        labels: (N, h, w) integers; those outside 0..C-1 are ignored.
        predictions: (N, h, w) integers in 0..C-1.

    Returns:
        (N, h, w) of the labels' type.
    """
    missed = (labels >= 0) & (labels < num_classes) & (labels != predictions)
    return torch.where(missed, labels, -1)


def share_of(counts: Tensor, percent: float) -> Tensor:
    """Return ceil(counts * percent / 100) in integers, with ``percent`` exact to two decimals."""
    return (counts * round(percent * 100) + 9999) // 10000


def select_pixels(
    labels: Tensor,
    predictions: Tensor,
    *,
    num_classes: int,
    percent: float = 50.0,
    sampler: Sampler = "bane",
    distance: Distance = "edt",
    percentile: Percentile = "image",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Choose pixels per (image, class), or per class over the batch; ignored pixels are never chosen.

    With n errors in a group every sampler chooses k = ceil(K n) pixels of it:

    - ``bane``: the errors with the smallest distance to the border of their error region.
    - ``semi_hard``: errors drawn at random, wherever they lie.
    - ``random``: drawn at random from all pixels with that label, right or wrong.

    The last two carry the names of the published ablation, whose exact definition is not published. Each removes one
    ingredient of BANE and keeps the number of negatives.

    Args:
        labels: (N, h, w) integers at the resolution of the layer; those outside 0..C-1 are ignored.
        predictions: (N, h, w) integers in 0..C-1, the final prediction at the same resolution.
        percent: K, in (0, 100].
        distance: ``edt``, to the nearest pixel outside the error region; ``edge``, to its nearest edge pixel (eq. 14).
        percentile: whether the lowest K percent are taken within an image or within the batch.
        generator: draws the order of ties; None keeps raster order, which suits no random sampler.

    Returns:
        (N, h, w) bool.
    """
    errors = error_map(labels, predictions, num_classes=num_classes)
    num_groups = num_classes * (len(labels) if percentile == "image" else 1)
    candidates = _groups(labels if sampler == "random" else errors, num_classes, percentile)
    order, limit = None, 1
    if sampler == "bane":
        measure = squared_distance_to_other if distance == "edt" else squared_distance_to_edge
        order, limit = measure(errors).flatten(), labels.shape[1] ** 2 + labels.shape[2] ** 2
    drawn = rank_in_groups(candidates, order, num_groups=num_groups, order_limit=limit, generator=generator)
    sizes = drawn.sizes
    if sampler == "random":
        groups = _groups(errors, num_classes, percentile)
        sizes = torch.zeros_like(sizes).scatter_add_(0, groups, torch.ones_like(groups))
    inside = torch.arange(num_groups + 1, device=labels.device) < num_groups
    kept = torch.where(inside, share_of(sizes, percent), 0)
    return (drawn.ranks < kept[candidates]).view(labels.shape)


def _groups(labels: Tensor, num_classes: int, percentile: Percentile) -> Tensor:
    rows = labels if percentile == "image" else labels.reshape(1, 1, -1)
    return image_class_groups(rows, num_classes=num_classes)
