"""Pixel contrast of ContrastiveSeg (ICCV 2021, arXiv 2101.11939) against the keys of a memory.

The keys are constants. The bank is read as it stands: products with it are taken of views.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .bane import share_of
from .in_parts import in_parts
from .pixel_contrast import AnchorLosses, against_crowd, only
from .precision import NEGLIGIBLE, without_autocast

_CHUNK_ELEMENTS = 2**25  # similarities that exist at a time
_SEMI_HARD_ELEMENTS = 2**22  # fewer, so that what is done to them finds them in the cache


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

    def loss(part: Tensor, place: slice) -> AnchorLosses:
        first = None if spared is None else spared + place.start
        return only(_with_all(part, labels[place], keys, filled, temperature, first), valid[place])

    with without_autocast(features):
        return in_parts(loss, features, size=size)


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
        keys: (C, L, D), the memory itself, in which positives lie.
        places: (C, m) int64, where; None: everywhere, as m is not much less than L.
        may_be_positive: (C, m) bool, which of these have been drawn.
    """

    negatives: Tensor
    classes: Tensor
    keys: Tensor
    places: Tensor | None
    may_be_positive: Tensor

    def positives(self, classes: slice = slice(None)) -> Tensor:
        """(c, m, D) candidates of some classes."""
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
    """Each anchor against the farthest of its positives and the nearest of its negatives (the paper, as recalled).

    Args:
        features: (C, A, D) unit vectors, anchors class by class.
        valid: (C, A) bool.
        candidates: from the memory, cut off from any graph.
        percent: p in (0, 100]: ceil(p n) of n candidates are taken.
        temperature: tau > 0.
        chunk: classes at a time; None fits them to the cache.
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
        return in_parts(loss, features, size=chunk or max(1, _SEMI_HARD_ELEMENTS // similarities))


class _Selection(NamedTuple):
    """Attributes:
    offsets: (C, n), added to scores.
    most: scores that are then taken of each anchor.
    """

    offsets: Tensor
    most: int


def _select(allowed: Tensor, percent: float) -> _Selection:
    """How to take the largest ``percent`` of the allowed ones of n scores, which differ in number from class to class.

    Equally many are taken of every class. Where that is too many, scores that are not allowed are raised above all
    others and fill up; the rest of them fall below. So the largest need not be sorted.

    Args:
        allowed: (C, n) bool.
    """
    most = -(-allowed.shape[1] * round(percent * 100) // 10_000)
    excess = most - share_of(allowed.sum(1), percent)
    raised = ~allowed & ((~allowed).cumsum(1) <= excess[:, None])
    return _Selection(torch.where(allowed, 0.0, torch.where(raised, -NEGLIGIBLE, NEGLIGIBLE)), most)


def _hardest(scores: Tensor, selection: _Selection, place: slice) -> tuple[Tensor, Tensor]:
    """The largest of (c, A, n) scores of some classes, which are written over, and which of them are not raised."""
    found = scores.add_(selection.offsets[place, None]).topk(selection.most, dim=2, sorted=False).values
    return found, ~(found > -NEGLIGIBLE / 2)  # what is not a number is taken, and the loss shows it


def _whole_of(part: int, percent: float, *, share: tuple[int, int] = (1, 1)) -> int:
    """The number of which ``percent`` of a share (numerator, denominator) is ``part``, rounded up."""
    numerator, denominator = max(1, share[0]), share[1]
    return -(-part * 10_000 * denominator // (round(percent * 100) * numerator))
