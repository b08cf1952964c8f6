"""Pixel contrast of ContrastiveSeg (ICCV 2021, arXiv 2101.11939) against the keys of a memory.

The keys are constants. The bank is read as it stands: products with it are taken of views.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .bane import share_of
from .pixel_contrast import AnchorLosses, against_crowd, only
from .precision import NEGLIGIBLE, without_autocast

_CHUNK_ELEMENTS = 2**25  # similarities that exist at a time


def contrast_with_all(
    features: Tensor,
    labels: Tensor,
    valid: Tensor,
    keys: Tensor,
    filled: Tensor,
    *,
    temperature: float = 0.1,
    spared: int | None = None,
    chunk: int | None = None,
) -> AnchorLosses:
    """Each anchor against all keys: those of its class attract, all others repel (released memory configuration).

    Args:
        features: (S, D) unit vectors.
        labels: (S,) int64 in 0..C-1.
        valid: (S,) bool.
        keys: (C, L, D), unit vectors as a rule.
        filled: (C, L) bool.
        temperature: tau > 0.
        spared: the key, counted over all classes, that is no positive of the first anchor; the next one is none of the
            second, and so on. For the study of a defect, see the method's options.
        chunk: anchors at a time; None fits them to memory.
    """
    size = chunk or max(1, _CHUNK_ELEMENTS // filled.numel())
    parts = []
    with without_autocast(features):
        for start in range(0, len(features), size):
            part = (features[start : start + size], labels[start : start + size])
            first = None if spared is None else spared + start
            arguments = (*part, keys, filled, temperature, first)
            if size >= len(features):
                parts.append(_with_all(*arguments))
            else:  # all similarities at once need not fit
                parts.append(checkpoint(_with_all, *arguments, use_reentrant=False, preserve_rng_state=False))
    values, counted = (torch.cat(each) for each in zip(*parts, strict=True))
    return only(AnchorLosses(values, counted), valid)


def _with_all(
    features: Tensor, labels: Tensor, keys: Tensor, filled: Tensor, temperature: float, spared: int | None
) -> AnchorLosses:
    num_classes, length, _ = keys.shape
    similarity = ((features / temperature) @ keys.flatten(0, 1).T).view(-1, num_classes, length)
    by_class = similarity.masked_fill(~filled, NEGLIGIBLE).logsumexp(2)
    classes = torch.arange(num_classes, device=labels.device)
    crowd = by_class.masked_fill(classes == labels[:, None], NEGLIGIBLE).logsumexp(1)
    anchors = torch.arange(len(labels), device=labels.device)
    positive = filled[labels]
    if spared is not None:
        places = labels[:, None] * length + torch.arange(length, device=labels.device)
        positive = positive & (places != anchors[:, None] + spared)
    return against_crowd(similarity[anchors, labels], crowd, positive)


class Candidates(NamedTuple):
    """Keys drawn from the memory, from which each anchor then takes those that are hard for it.

    Attributes:
        negatives: (M, D), for the anchors of all classes.
        classes: (M,) int64, their classes; C in an empty slot.
        positives: (C, m, D), or all keys (C, L, D) if that is little more.
        may_be_positive: (C, m) bool, which of these have been drawn.
    """

    negatives: Tensor
    classes: Tensor
    positives: Tensor
    may_be_positive: Tensor


def draw_candidates(
    keys: Tensor,
    filled: Tensor,
    *,
    positives: int = 1024,
    negatives: int = 2048,
    percent: float = 10.0,
    generator: torch.Generator | None = None,
) -> Candidates:
    """Draw, without putting back, so many keys that the hardest ``percent`` of them are the wanted number.

    The paper draws K keys from the hardest p percent of the memory. Here each anchor takes the hardest p percent of
    K / p keys drawn from the memory, which spares ranking the whole memory for every anchor: a key is taken with the
    same chance, up to the luck of where the border of those p percent lies. A memory that holds no more than K / p keys
    is taken as a whole, and then both are the same.

    Args:
        keys: (C, L, D).
        filled: (C, L) bool.
        positives: wanted for an anchor, of its class.
        negatives: wanted for an anchor, of all other classes together, where all classes hold equally many keys.
        percent: p, in (0, 100].
        generator: on the device of the keys.
    """
    num_classes, length = filled.shape
    # Those of the anchor's own class will drop out of the negatives.
    most = _whole_of(negatives, percent, share=(num_classes - 1, num_classes))
    scores = torch.rand(filled.shape, generator=generator, device=filled.device)
    scores = torch.where(filled, scores, -1)
    drawn = scores.flatten().topk(min(most, filled.numel()), sorted=False)
    classes = torch.where(drawn.values >= 0, drawn.indices // length, num_classes)
    found = scores.topk(min(_whole_of(positives, percent), length), dim=1, sorted=False)
    own, may_be = keys, found.values >= 0
    if 2 * may_be.shape[1] > length:
        may_be = torch.zeros_like(filled).scatter_(1, found.indices, may_be)
    else:  # a smaller product for every anchor
        own = keys[torch.arange(num_classes, device=keys.device)[:, None], found.indices]
    return Candidates(keys.flatten(0, 1)[drawn.indices], classes, own, may_be)


def semi_hard_contrast(
    features: Tensor,
    valid: Tensor,
    candidates: Candidates,
    *,
    percent: float = 10.0,
    temperature: float = 0.1,
) -> AnchorLosses:
    """Each anchor against the farthest of its positives and the nearest of its negatives (the paper, as recalled).

    Args:
        features: (C, A, D) unit vectors, anchors class by class.
        valid: (C, A) bool.
        candidates: from the memory, cut off from any graph.
        percent: p in (0, 100]: ceil(p n) of n candidates are taken.
        temperature: tau > 0.
    """
    num_classes, per_class, dim = features.shape
    queries = features / temperature
    with without_autocast(features):
        from_own = -queries @ candidates.positives.transpose(1, 2)  # (C, A, m)
        to_others = (queries.view(-1, dim) @ candidates.negatives.T).view(num_classes, per_class, -1)
    far, is_far = _hardest(from_own, candidates.may_be_positive, percent)
    allowed = candidates.classes != torch.arange(num_classes, device=features.device)[:, None]
    near, is_near = _hardest(to_others, allowed & (candidates.classes < num_classes), percent)
    crowd = near.masked_fill(~is_near, NEGLIGIBLE).logsumexp(2)
    return only(against_crowd(-far, crowd, is_far), valid)


def _hardest(scores: Tensor, allowed: Tensor, percent: float) -> tuple[Tensor, Tensor]:
    """The largest ``percent`` of the allowed scores.

    Args:
        scores: (C, A, n).
        allowed: (C, n) bool.

    Returns:
        (C, A, k) scores with k the most there can be, and (C, 1, k) bool, which of them are taken.
    """
    most = -(-scores.shape[2] * round(percent * 100) // 10_000)
    found = scores.masked_fill(~allowed[:, None], NEGLIGIBLE).topk(most, dim=2).values
    taken = share_of(allowed.sum(1), percent)
    return found, (torch.arange(most, device=scores.device) < taken[:, None])[:, None]


def _whole_of(part: int, percent: float, *, share: tuple[int, int] = (1, 1)) -> int:
    """The number of which ``percent`` of a share (numerator, denominator) is ``part``, rounded up."""
    numerator, denominator = max(1, share[0]), share[1]
    return -(-part * 10_000 * denominator // (round(percent * 100) * numerator))
