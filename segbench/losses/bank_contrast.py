"""Pixel contrast of ContrastiveSeg (ICCV 2021, arXiv 2101.11939) against the keys of a bank.

The keys are constants, and products are taken with views of the bank.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .bane import share_of
from .chunked import in_chunks
from .pixel_contrast import AnchorLosses, against_crowd, only
from .precision import NEGLIGIBLE, without_autocast

_CHUNK_ELEMENTS = 2**25  # similarities at a time
_SEMI_HARD_ELEMENTS = 2**22  # fewer, so that they stay in the cache


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
    """Contrast each anchor with all keys, attracting those of its class (released memory configuration).

    Args:
        features: (S, D) unit vectors.
        labels: (S,) int64 in 0..C-1.
        valid: (S,) bool.
        keys: (C, L, D), unit vectors as a rule.
        filled: (C, L) bool.
        temperature: tau > 0.
        spared: index, over all classes, of the key that is no positive of the first anchor; the next one is none of the
            second, and so on. To study a defect, see the method's options.
        chunk: anchors at a time; None: as memory allows.
    """
    size = chunk or max(1, _CHUNK_ELEMENTS // filled.numel())

    def loss(anchors: Tensor, place: slice) -> AnchorLosses:
        first = None if spared is None else spared + place.start
        return only(_with_all(anchors, labels[place], keys, filled, temperature, first), valid[place])

    with without_autocast(features):
        return in_chunks(loss, features, size=size)


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
    """Keys drawn from the bank, of which each anchor takes those that are hard for it.

    Attributes:
        negatives: (M, D), for the anchors of all classes.
        classes: (M,) int64, their classes; C in an empty slot.
        keys: (C, L, D), the bank itself, which holds the positives.
        places: (C, m) int64, places of the positives; None: all, as m is not much less than L.
        may_be_positive: (C, m) bool, which of these have been drawn.
    """

    negatives: Tensor
    classes: Tensor
    keys: Tensor
    places: Tensor | None
    may_be_positive: Tensor

    def positives(self, classes: slice = slice(None)) -> Tensor:
        """Return the candidates (c, m, D) of some classes."""
        if self.places is None:
            return self.keys[classes]
        numbers = torch.arange(len(self.keys), device=self.keys.device)
        return self.keys[numbers[classes, None], self.places[classes]]


def draw_candidates(
    keys: Tensor,
    filled: Tensor,
    *,
    positives: int = 1024,
    negatives: int = 2048,
    percent: float = 10.0,
    generator: torch.Generator | None = None,
) -> Candidates:
    """Draw so many keys, without replacement, that the hardest ``percent`` of them are the wanted number.

    The paper draws K keys from the hardest p percent of the bank. Here each anchor takes the hardest p percent of K / p
    keys drawn from the bank, so that the bank need not be ranked for every anchor: a key is taken with the same
    probability, up to where the border of those p percent happens to lie. A bank of no more than K / p keys is taken as
    a whole; then both are the same.

    Args:
        keys: (C, L, D).
        filled: (C, L) bool.
        positives: number wanted of each anchor's class.
        negatives: number wanted of all other classes together, if all classes hold equally many keys.
        percent: p, in (0, 100].
        generator: source of the draws, on the device of the keys.
    """
    num_classes, length = filled.shape
    # Keys of the anchor's own class will not be negatives.
    most = _whole_of(negatives, percent, share=(num_classes - 1, num_classes))
    scores = torch.rand(filled.shape, generator=generator, device=filled.device)
    scores = torch.where(filled, scores, -1)
    drawn = scores.flatten().topk(min(most, filled.numel()), sorted=False)
    classes = torch.where(drawn.values >= 0, drawn.indices // length, num_classes)
    found = scores.topk(min(_whole_of(positives, percent), length), dim=1, sorted=False)
    places: Tensor | None = found.indices
    may_be = found.values >= 0
    if 2 * may_be.shape[1] > length:
        places, may_be = None, torch.zeros_like(filled).scatter_(1, found.indices, may_be)
    return Candidates(keys.flatten(0, 1)[drawn.indices], classes, keys, places, may_be)


def semi_hard_contrast(
    features: Tensor,
    valid: Tensor,
    candidates: Candidates,
    *,
    percent: float = 10.0,
    temperature: float = 0.1,
    chunk: int | None = None,
) -> AnchorLosses:
    """Contrast each anchor with its farthest positives and nearest negatives (the paper, as recalled).

    Args:
        features: (C, A, D) unit vectors, anchors class by class.
        valid: (C, A) bool.
        candidates: keys from the bank, detached.
        percent: p in (0, 100]; ceil(p n) of n candidates are taken.
        temperature: tau > 0.
        chunk: classes at a time; None: as the cache allows.
    """
    num_classes = len(features)
    classes = torch.arange(num_classes, device=features.device)[:, None]
    may_be_negative = (candidates.classes != classes) & (candidates.classes < num_classes)
    others, own = _select(may_be_negative, percent), _select(candidates.may_be_positive, percent)
    similarities = features.shape[1] * (may_be_negative.shape[1] + candidates.may_be_positive.shape[1])

    def loss(anchors: Tensor, place: slice) -> AnchorLosses:
        queries = anchors / temperature
        to_others = (queries.flatten(0, 1) @ candidates.negatives.T).view(*queries.shape[:2], -1)
        near, is_near = _hardest(to_others, others, place)
        from_own = -queries @ candidates.positives(place).transpose(1, 2)
        far, is_far = _hardest(from_own, own, place)
        crowd = near.masked_fill(~is_near, NEGLIGIBLE).logsumexp(2)
        return only(against_crowd(-far, crowd, is_far), valid[place])

    with without_autocast(features):
        return in_chunks(loss, features, size=chunk or max(1, _SEMI_HARD_ELEMENTS // similarities))


class _Selection(NamedTuple):
    """Selection of the largest of n scores per class.

    Attributes:
        offsets: (C, n), added to the scores.
        most: number of scores that are then taken of each anchor.
    """

    offsets: Tensor
    most: int


def _select(allowed: Tensor, percent: float) -> _Selection:
    """Return how to take the largest ``percent`` of the allowed scores, whose number differs between classes.

    Equally many are taken of every class. If that is too many for a class, some scores that are not allowed are raised
    above all others to fill up, and the rest of them fall below. So the largest need not be sorted.

    Args:
        allowed: (C, n) bool.
    """
    most = -(-allowed.shape[1] * round(percent * 100) // 10_000)
    excess = most - share_of(allowed.sum(1), percent)
    raised = ~allowed & ((~allowed).cumsum(1) <= excess[:, None])
    return _Selection(torch.where(allowed, 0.0, torch.where(raised, -NEGLIGIBLE, NEGLIGIBLE)), most)


def _hardest(scores: Tensor, selection: _Selection, place: slice) -> tuple[Tensor, Tensor]:
    """Return the largest of the (c, A, n) scores of some classes, which are overwritten, and which are not raised."""
    found = scores.add_(selection.offsets[place, None]).topk(selection.most, dim=2, sorted=False).values
    return found, ~(found > -NEGLIGIBLE / 2)  # NaN is taken, and the loss shows it


def _whole_of(count: int, percent: float, *, share: tuple[int, int] = (1, 1)) -> int:
    """Return the number of which ``percent`` of a share (numerator, denominator) is ``count``, rounded up."""
    numerator, denominator = max(1, share[0]), share[1]
    return -(-count * 10_000 * denominator // (round(percent * 100) * numerator))
