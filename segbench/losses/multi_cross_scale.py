"""Multi-scale and cross-scale contrastive losses of Pissas et al. (ECCV 2022, arXiv 2203.13409).

Facts: the authors' released code. Samples of a scale are balanced over the (image, class) pairs of the batch; all
tensors have static shapes with masks, as only the device knows the number of samples.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .precision import NEGLIGIBLE, at_least_float32, without_autocast
from .sampling import image_class_groups, rank_in_groups

_CHUNK_ELEMENTS = 2**24  # similarities at a time


class Samples(NamedTuple):
    """Sampled pixels of one scale.

    Attributes:
        features: (S, D) unit vectors, float32.
        labels: (S,) int64.
        valid: (S,) bool; the other slots are empty.
    """

    features: Tensor
    labels: Tensor
    valid: Tensor


def draw_samples(
    embeddings: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    per_pair: int = 2500,
    per_scale: int = 10000,
    min_pixels: int = 5,
    generator: torch.Generator | None = None,
) -> Samples:
    """Draw V pixels of every (image, class) pair that has at least ``min_pixels`` of them.

    With T such pairs, V is the smallest of their pixel counts, at most ``per_pair``; if T * V exceeds ``per_scale``,
    V = per_scale // T. No pair: no valid slot.

    Args:
        embeddings: (N, D, h, w), need not be normalised.
        labels: (N, h, w) integers at the same resolution; those outside 0..C-1 are ignored.
        generator: draws the pixels; None takes the first ones in raster order.

    Returns:
        min(per_scale, N * h * w) slots.
    """
    groups = image_class_groups(labels, num_classes=num_classes)
    num_groups, pixels = num_classes * len(labels), labels[0].numel()
    ranks, sizes = rank_in_groups(groups, num_groups=num_groups, generator=generator)
    drawn_from = (sizes >= min_pixels) & (torch.arange(num_groups + 1, device=labels.device) < num_groups)
    pairs = drawn_from.sum()
    each = torch.where(drawn_from, sizes, per_pair).min().clamp(max=per_pair)
    each = torch.where(each * pairs > per_scale, per_scale // pairs.clamp(min=1), each)

    slots = min(per_scale, len(groups))
    pair_number = drawn_from.cumsum(0) - 1
    chosen = drawn_from[groups] & (ranks < each)
    slot = torch.where(chosen, pair_number[groups] * each + ranks, slots)  # the last slot takes the rest
    position = torch.arange(len(groups), device=labels.device)
    sources = torch.zeros(slots + 1, dtype=torch.int64, device=labels.device).scatter_(0, slot, position)[:slots]
    features = embeddings.flatten(2)[sources // pixels, :, sources % pixels]
    valid = torch.arange(slots, device=labels.device) < pairs * each
    return Samples(F.normalize(at_least_float32(features), dim=1), labels.flatten()[sources].long(), valid)


def scale_contrast(
    anchors: Samples, others: Samples, *, temperature: float = 0.1, within: bool, chunk: int | None = None
) -> Tensor:
    """Contrast each anchor with the other samples, exactly, in chunks of anchors that are recomputed for gradients.

    For anchor a: mean over positives p (same class) of -log(e^{s(a,p)} / (e^{s(a,p)} + sum over n of other classes of
    e^{s(a,n)})) with s the cosine over tau; then mean over all anchors. An anchor without a positive contributes 0
    and counts in the mean.

    Args:
        within: whether ``others`` are the anchors themselves, so that an anchor is not its own positive.
        chunk: anchors at a time; None: as memory allows.

    Returns:
        A scalar; 0 without valid anchors.
    """
    size = chunk or max(1, _CHUNK_ELEMENTS // len(others.valid))
    total = anchors.features.new_zeros(())
    with without_autocast(anchors.features):
        for start in range(0, len(anchors.valid), size):
            chunked = Samples(*(values[start : start + size] for values in anchors))
            offset = start if within else None
            total = total + checkpoint(
                _contrast, chunked, others, offset, temperature, use_reentrant=False, preserve_rng_state=False
            )
    return total / anchors.valid.sum().clamp(min=1)


def _contrast(anchors: Samples, others: Samples, offset: int | None, temperature: float) -> Tensor:
    """Sum the losses of the valid anchors; ``offset`` is the index of the first anchor among the others, if any."""
    similarity = anchors.features @ others.features.T / temperature
    same = anchors.labels[:, None] == others.labels
    positives = same & others.valid
    if offset is not None:
        place = torch.arange(offset, offset + len(anchors.valid), device=same.device)
        positives = positives & (place[:, None] != torch.arange(len(others.valid), device=same.device))
    crowd = similarity.masked_fill(same | ~others.valid, NEGLIGIBLE).logsumexp(1, keepdim=True)
    losses = torch.where(positives, F.softplus(crowd - similarity), 0).sum(1) / positives.sum(1).clamp(min=1)
    return torch.where(anchors.valid, losses, 0).sum()
