"""Pixel-anchor (PA) loss of Contextrast: class means as anchors, one positive in each denominator.

Facts: Contextrast supplement eq. 4-5 (loss); Contextrast++ eq. 1-2 (anchors). Layers are compared with their own
anchors, which are mixed with those of one shared layer, by default the deepest.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .choices import Negatives
from .precision import NEGLIGIBLE, at_least_float32, without_autocast
from .sampling import rank_in_groups

_SHORTEST = 1e-12  # shorter vectors have no direction; they count as 0 and get no gradient


class UnitVectors(NamedTuple):
    """Pixel embeddings of unit length, not materialised: products are taken with ``values`` and scaled by ``factor``.

    Normalising would write maps of N * D * h * w numbers several times over, forward and backward.

    Attributes:
        values: (N, D, h * w) float32, of any length.
        factor: (N, 1, h * w), one over the length of each vector.
    """

    values: Tensor
    factor: Tensor


class Anchors(NamedTuple):
    """One vector per class.

    Attributes:
        vectors: (C, D) float32; arbitrary but finite for absent classes.
        present: (C,) bool, whether the class has a labelled pixel.
    """

    vectors: Tensor
    present: Tensor


def class_masks(labels: Tensor, *, num_classes: int) -> Tensor:
    """Return masks (N, C, h, w) bool of labels (N, h, w); ignored pixels (ids outside 0..C-1) are in no class."""
    return labels[:, None] == torch.arange(num_classes, device=labels.device)[:, None, None]


def unit_vectors(embeddings: Tensor) -> UnitVectors:
    """Return embeddings (N, D, h, w) of any floating type as unit vectors along D."""
    values = at_least_float32(embeddings).flatten(2)
    length = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return UnitVectors(values, torch.where(length > _SHORTEST, 1 / length.clamp(min=_SHORTEST), 0))


def class_means(pixels: UnitVectors, labels: Tensor, *, num_classes: int) -> Anchors:
    """Return the mean unit vector of each class over the mini-batch (Contextrast++ eq. 1).

    Args:
        pixels: unit vectors of a map of h * w pixels.
        labels: (N, h, w) integers; those outside 0..C-1 are ignored.
    """
    members = class_masks(labels, num_classes=num_classes).flatten(2)
    counts = members.sum((0, 2))
    with without_autocast(pixels.values):
        # A matrix product, unlike a scattered sum, is deterministic.
        sums = torch.bmm(members * pixels.factor, pixels.values.transpose(1, 2)).sum(0)
    return Anchors(sums / counts.clamp(min=1)[:, None], counts > 0)


def share_anchors(own: Anchors, shared: Anchors, *, weights: tuple[float, float]) -> Anchors:
    """Return w_low * own + w_high * shared if a class is present in both layers, else its own (Contextrast++ eq. 2)."""
    low, high = weights
    both = (own.present & shared.present)[:, None]
    return own._replace(vectors=torch.where(both, low * own.vectors + high * shared.vectors, own.vectors))


def finish_anchors(anchors: Anchors, *, normalise: bool = True, detach: bool = False) -> Anchors:
    """Normalise and detach anchors as asked."""
    vectors = anchors.vectors.detach() if detach else anchors.vectors
    return anchors._replace(vectors=F.normalize(vectors, dim=1) if normalise else vectors)


def negative_masks(
    selected: Tensor, labels: Tensor, predictions: Tensor, *, num_classes: int, role: Negatives = "union"
) -> Tensor:
    """Assign the selected pixels to anchors as negatives.

    The text calls the pixels of B^n negatives of anchor n though they carry its label; readings of that:

    - ``union``: all selected pixels with another label.
    - ``fp_only``: of those, the ones that are predicted as n.
    - ``literal``: the selected pixels with label n. For study only: it pushes a class away from itself.

    Args:
        selected: (N, h, w) bool.
        labels: (N, h, w) integers; selected pixels are labelled.
        predictions: (N, h, w) integers in 0..C-1.

    Returns:
        (N, C, h, w) bool.
    """
    own = class_masks(labels, num_classes=num_classes)
    if role == "literal":
        return own & selected[:, None]
    others = ~own & selected[:, None]
    return others & class_masks(predictions, num_classes=num_classes) if role == "fp_only" else others


def draw_positives(
    labels: Tensor, per_class: int, *, num_classes: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw at most ``per_class`` labelled pixels of each class of the batch, as a mask (N, h, w) bool."""
    flat = labels.flatten()
    groups = torch.where((flat >= 0) & (flat < num_classes), flat, num_classes)
    ranks = rank_in_groups(groups, num_groups=num_classes, generator=generator).ranks
    return ((ranks < per_class) & (groups < num_classes)).view(labels.shape)


def pixel_anchor_loss(
    pixels: UnitVectors,
    labels: Tensor,
    anchors: Anchors,
    negatives: Tensor,
    *,
    temperature: float = 0.1,
    positives: Tensor | None = None,
) -> Tensor:
    """Return the PA loss of one layer (supplement eq. 4-5).

    For anchor a and positive v: -log(e^{a.v/tau} / (e^{a.v/tau} + sum over negatives u of e^{a.u/tau})); mean over
    the positives of a class, then over the present classes that have a negative. 0 if there is none.

    Args:
        pixels: unit vectors of a map of h * w pixels.
        labels: (N, h, w) integers; those outside 0..C-1 are ignored.
        anchors: one per class.
        negatives: (N, C, h, w) bool, see `negative_masks`.
        temperature: tau > 0.
        positives: (N, h, w) bool, which labelled pixels serve as positives; None for all.

    Returns:
        A scalar in float32 (float64 for float64 pixels), finite also for degenerate batches.
    """
    num_classes = len(anchors.vectors)
    own = class_masks(labels, num_classes=num_classes)
    if positives is not None:
        own = own & positives[:, None]
    counts = own.sum((0, 2, 3))
    with without_autocast(pixels.values):
        # Expanded by hand, as a broadcasting product would copy the pixels into another layout.
        queries = (anchors.vectors / temperature).expand(len(labels), -1, -1)
        similarity = torch.bmm(queries, pixels.values) * pixels.factor  # (N, C, h * w)
    negatives = negatives.flatten(2)
    crowd = torch.logsumexp(similarity.masked_fill(~negatives, NEGLIGIBLE), dim=(0, 2))  # (C,)
    valid = (counts > 0) & anchors.present & negatives.any(2).any(0)
    shares = valid.to(similarity.dtype) / (counts.clamp(min=1) * valid.sum().clamp(min=1))

    in_range = (labels >= 0) & (labels < num_classes)
    classes = torch.where(in_range, labels, 0).flatten(1)[:, None]
    # Gathered from the difference, not from ``crowd``, so that the backward pass has no colliding additions.
    losses = F.softplus((crowd[:, None] - similarity).gather(1, classes)[:, 0])
    weights = torch.where(own.any(1).flatten(1), shares[classes[:, 0]], 0)
    return (losses * weights).sum()
