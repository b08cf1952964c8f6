"""Pixel contrast of ContrastiveSeg (ICCV 2021, arXiv 2101.11939) among the anchors of a group of images.

Facts: the released code, whose groups are the images of one GPU. Anchors are drawn by segmentation-aware hard sampling:
a pixel is hard where the network predicts another class. All shapes are static with masks, as only the device
knows the number of anchors.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .precision import NEGLIGIBLE, at_least_float32, without_autocast
from .sampling import image_class_groups, rank_in_groups

_SHORTEST = 1e-12


class Pixels(NamedTuple):
    """Pixels drawn from label maps (N, h, w), in slots of which some stay empty.

    Attributes:
        places: (S,) int64 into the flattened maps.
        labels: (S,) int64 in 0..C-1.
        valid: (S,) bool; empty slots hold arbitrary values.
    """

    places: Tensor
    labels: Tensor
    valid: Tensor


class AnchorLosses(NamedTuple):
    """Losses by anchor.

    Attributes:
        values: (..., S), 0 for anchors that do not count.
        counted: (..., S) bool; whether the slot is filled and the anchor has a positive.
    """

    values: Tensor
    counted: Tensor

    def mean(self) -> Tensor:
        """Return the mean over all anchors that count; 0 if none does."""
        return self.values.sum() / self.counted.sum().clamp(min=1)


def draw_views(
    labels: Tensor,
    predictions: Tensor,
    *,
    num_classes: int,
    max_anchors: int = 1024,
    max_views: int = 100,
    min_pixels: int = 101,
    hard_share: float = 0.5,
    generator: torch.Generator | None = None,
) -> Pixels:
    """Draw n pixels of every (image, class) pair that has at least ``min_pixels`` of them (released code).

    With A such pairs n = min(floor(max_anchors / A), max_views). Of these floor(hard_share * n) are hard and the others
    are easy; where a pair has too few of one kind, the other kind fills up.

    Args:
        labels: (N, h, w) integers at the resolution of the embedding; those outside 0..C-1 are ignored.
        predictions: (N, h, w) integers in 0..C-1.
        min_pixels: not below ``max_views``; the released code wants strictly more.
        generator: draws the pixels; None takes the first ones in raster order.

    Returns:
        min(max_anchors, N * C * max_views) slots.
    """
    pairs = num_classes * len(labels)
    groups = image_class_groups(labels, num_classes=num_classes)
    easy = (labels == predictions).flatten()
    kinds = torch.where(groups < pairs, 2 * groups + easy, 2 * pairs)
    ranks, sizes = rank_in_groups(kinds, num_groups=2 * pairs, generator=generator)
    num_hard, num_easy = sizes[:-1].view(pairs, 2).unbind(1)
    contrasted = num_hard + num_easy >= min_pixels
    views = (max_anchors // contrasted.sum().clamp(min=1)).clamp(max=max_views)
    wanted = views * round(hard_share * 10_000) // 10_000
    kept_hard = torch.minimum(torch.maximum(wanted, views - num_easy), num_hard)
    kept = (torch.stack([kept_hard, views - kept_hard], 1) * contrasted[:, None]).flatten()

    inside = kinds < 2 * pairs
    kinds, groups = torch.where(inside, kinds, 0), torch.where(inside, groups, 0)
    first = (contrasted.cumsum(0) - 1) * views
    slots = first[groups] + torch.where(easy, kept_hard[groups], 0) + ranks
    return _fill(labels, slots, inside & (ranks < kept[kinds]), size=min(max_anchors, pairs * max_views))


def draw_anchors(
    labels: Tensor,
    predictions: Tensor,
    *,
    num_classes: int,
    per_class: int = 50,
    hard_share: float = 0.5,
    generator: torch.Generator | None = None,
) -> Pixels:
    """Draw ``per_class`` pixels of every class of the images, or all if it has fewer (the paper, as recalled).

    floor(hard_share * per_class) of them are drawn from the hard pixels, the rest from all that remain.

    Args:
        labels: (N, h, w) integers at the resolution of the embedding; those outside 0..C-1 are ignored.
        predictions: (N, h, w) integers in 0..C-1.
        generator: draws the pixels; None takes the first ones in raster order.

    Returns:
        C * per_class slots, class after class.
    """
    flat = labels.flatten().long()
    classes = torch.where((flat >= 0) & (flat < num_classes), flat, num_classes)
    hard = torch.where(flat != predictions.flatten(), classes, num_classes)
    quota = per_class * round(hard_share * 10_000) // 10_000
    ranks = rank_in_groups(hard, num_groups=num_classes, generator=generator).ranks
    first = (hard < num_classes) & (ranks < quota)
    ranks = rank_in_groups(classes, (~first).long(), num_groups=num_classes, order_limit=2, generator=generator).ranks
    chosen = (classes < num_classes) & (ranks < per_class)
    return _fill(labels, classes * per_class + ranks, chosen, size=num_classes * per_class)


def _fill(labels: Tensor, slots: Tensor, chosen: Tensor, *, size: int) -> Pixels:
    """Put every chosen pixel into its slot."""
    slots = torch.where(chosen, slots, size)  # one more slot takes the rest
    positions = torch.arange(len(slots), device=slots.device)
    places = torch.zeros(size + 1, dtype=torch.int64, device=slots.device).scatter_(0, slots, positions)[:size]
    valid = torch.zeros(size + 1, dtype=torch.bool, device=slots.device).scatter_(0, slots, chosen)[:size]
    places = torch.where(valid, places, 0)
    return Pixels(places, torch.where(valid, labels.flatten()[places].long(), 0), valid)


def indices_at(places: Tensor, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return image, row and column of places (...) in the flattened (N, h, w) of maps (N, D, h, w)."""
    height, width = maps.shape[-2:]
    return places // (height * width), places // width % height, places % width


def vectors_at(maps: Tensor, places: Tensor) -> Tensor:
    """Return single pixels (..., D) of maps (N, D, h, w) by their places (...) int64 in the flattened (N, h, w)."""
    images, rows, columns = indices_at(places, maps)
    if maps.stride(1) == 1:  # channels last: whole vectors, and the gradient keeps the layout
        return maps.movedim(1, -1)[images, rows, columns]
    return maps[images, :, rows, columns]


def at_unit_length(vectors: Tensor) -> Tensor:
    """L2-normalise vectors (..., D) of any floating type, in float32 (float64 stays)."""
    vectors = at_least_float32(vectors)
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    # Vectors without a direction become 0 without a gradient, which a division by a tiny number would blow up.
    return torch.where(length <= _SHORTEST, 0, vectors / length.clamp(min=_SHORTEST))


def unit_vectors_at(embeddings: Tensor, places: Tensor) -> Tensor:
    """Return L2-normalised embeddings of single pixels; the rest of the maps is neither normalised nor copied.

    Args:
        embeddings: (N, D, h, w) of any floating type and length.
        places: (...) int64 into the flattened (N, h, w).

    Returns:
        (..., D) float32 (float64 for float64 embeddings).
    """
    return at_unit_length(vectors_at(embeddings, places))


def against_crowd(similarity: Tensor, crowd: Tensor, positive: Tensor) -> AnchorLosses:
    """Return the mean over the positives p of each anchor of -log(e^{s_p} / (e^{s_p} + e^{crowd})).

    Args:
        similarity: (..., S, K) cosines over the temperature; arbitrary where there is no positive.
        crowd: (..., S), the log-sum-exp of the similarities of the negatives.
        positive: bool, broadcast to (..., S, K).
    """
    # Even the gradient of masked places is 0, as softplus is flat there.
    losses = F.softplus(crowd[..., None] - torch.where(positive, similarity, -NEGLIGIBLE))
    count = positive.sum(-1)
    return AnchorLosses(losses.sum(-1) / count.clamp(min=1), (count > 0).expand(crowd.shape))


def contrast_within(features: Tensor, labels: Tensor, valid: Tensor, *, temperature: float = 0.1) -> AnchorLosses:
    """Contrast each anchor with all others of its group, attracting those of its class.

    Args:
        features: (S, D) unit vectors.
        labels: (S,) int64.
        valid: (S,) bool.
        temperature: tau > 0.
    """
    with without_autocast(features):
        similarity = (features / temperature) @ features.T
    same = labels[:, None] == labels
    crowd = similarity.masked_fill(same | ~valid, NEGLIGIBLE).logsumexp(1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return only(against_crowd(similarity, crowd, same & valid & ~itself), valid)


def only(losses: AnchorLosses, valid: Tensor) -> AnchorLosses:
    """Keep the losses of the filled slots (..., S) bool."""
    counted = losses.counted & valid
    return AnchorLosses(torch.where(counted, losses.values, 0), counted)
