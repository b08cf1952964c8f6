"""Label-based pixel contrast of Zhao et al. (ICCV 2021, arXiv 2012.06985) within images and across pairs of images.

Two forms:

- ``paper``: anchors are the pixels of an image I, keys those of its distorted copy. The denominator of a pair holds all
  keys. Across images the pixels of another image's distorted copy are further positives, never negatives.
- ``released``: the loss that the authors published. Within an image I is contrasted with itself and the distorted copy
  with itself, and both are added; across images the pixels of I and of the other copy are anchors and keys together,
  with negatives of an anchor's own image alone. A pixel is a positive of itself, and the denominator of a pair holds
  the pair and the anchor's negatives.

No pairwise matrix is kept: anchors are taken in chunks together with their gradients, which are no larger than the
features.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .precision import NEGLIGIBLE, at_least_float32, without_autocast

Form = Literal["paper", "released"]
# Bytes of a chunk's products: more leaves the caches of a CPU, and less keeps no accelerator busy.
_CPU_BYTES, _OTHER_BYTES = 4_000_000, 256_000_000


def label_contrast(
    first: Tensor,
    second: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    form: Form,
    partners: Tensor | None = None,
    temperature: float = 0.07,
    chunk_bytes: int | None = None,
) -> Tensor:
    """Return the mean over the images of the mean over an image's anchors.

    Args:
        first: (N, P, D) features of the pixels of the images; unit vectors unless a published test says otherwise.
        second: (N, P, D) features of the distorted copies.
        labels: (N, P) integers of both; pixels outside 0..C-1 take no part.
        num_classes: C.
        form: see above.
        partners: (N,) int64, number of the image whose distorted copy is paired with each image; None: within images.
        temperature: tau, which divides the products. In the released form these may differ by 80 for one anchor, so
            that tau may be 0.025 for unit vectors.
        chunk_bytes: size of one chunk's matrix of products, of which about three exist at a time; None: what suits the
            device.

    Returns:
        A scalar in float32 (float64 stays); an image without anchors counts 0.
    """
    first, second = at_least_float32(first), at_least_float32(second)
    options = _Options(num_classes, temperature, form == "paper", chunk_bytes)
    with without_autocast(first):
        if partners is not None:
            return _across_images(first, second, labels, partners, options)
        if options.paper:
            return _contrast(first, second, labels, labels, None, None, options)
        each = [_contrast(view, view, labels, labels, None, None, options) for view in (first, second)]
        return each[0] + each[1]


def _across_images(first: Tensor, second: Tensor, labels: Tensor, partners: Tensor, options: _Options) -> Tensor:
    other, both = second[partners], torch.cat([labels, labels[partners]], 1)
    number = labels.shape[1]
    own = torch.arange(2 * number, device=labels.device) < number
    if options.paper:
        return _contrast(first, torch.cat([second, other], 1), labels, both, own[:number], own, options)
    pixels = torch.cat([first, other], 1)
    return _contrast(pixels, pixels, both, both, own, own, options)


class _Options(NamedTuple):
    num_classes: int
    temperature: float
    paper: bool
    chunk_bytes: int | None


def _contrast(
    anchors: Tensor,
    keys: Tensor,
    labels: Tensor,
    key_labels: Tensor,
    side: Tensor | None,
    key_side: Tensor | None,
    options: _Options,
) -> Tensor:
    """Contrast anchors (N, P, D) with keys (N, K, D); ``side`` (P,) and ``key_side`` (K,) tell two images apart."""
    classes = torch.arange(options.num_classes, device=labels.device)
    members = (key_labels[:, None] == classes[:, None]).to(keys)  # (N, C, K)
    counts = members.sum(2)
    inside = (labels >= 0) & (labels < options.num_classes)
    slots = torch.where(inside, labels, 0).long()
    positives = counts.gather(1, slots).where(inside, 0)  # of each anchor
    counted = positives > 0
    # The weight of each anchor is known beforehand, so that a chunk's gradient can be taken at once.
    shares = counted / counted.sum(1, keepdim=True).clamp(min=1) / len(labels)
    total: Tensor = _Total.apply(anchors, keys, labels, key_labels, side, key_side, positives, shares, options)
    if options.paper:
        # The mean over the positives of their products is a product with their mean.
        means = members @ keys / counts.clamp(min=1)[..., None]
        own = (anchors @ means.transpose(1, 2)).gather(2, slots[..., None])[..., 0] / options.temperature
        total = total - (own * shares).sum()
    return total


class _Total(torch.autograd.Function):
    """Sum of the losses of all anchors times their shares, chunk by chunk, with its gradient.

    In the paper's form only the logarithms of the denominators.
    """

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        keys: Tensor,
        labels: Tensor,
        key_labels: Tensor,
        side: Tensor | None,
        key_side: Tensor | None,
        positives: Tensor,
        shares: Tensor,
        options: _Options,
    ) -> Tensor:
        total = shares.new_zeros(())
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        if wanted:
            of_anchors, of_keys = torch.empty_like(anchors), torch.zeros_like(keys)
        for part in _Chunks(anchors, keys, labels, key_labels, side, key_side, options):
            share = shares[:, part.rows]
            each = share / positives[:, part.rows].clamp(min=1)
            value, weights = part.all_keys(share) if options.paper else part.own_negatives(each)
            total = total + value
            if wanted:
                weights.mul_(1 / options.temperature)
                of_anchors[:, part.rows] = weights @ keys
                of_keys.baddbmm_(weights.transpose(1, 2), anchors[:, part.rows])
        if wanted:
            ctx.save_for_backward(of_anchors, of_keys)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        of_anchors, of_keys = ctx.saved_tensors
        return grad * of_anchors, grad * of_keys, *[None] * 7


class _Chunk:
    """Some anchors and all keys."""

    def __init__(self, chunks: _Chunks, rows: slice) -> None:
        self.chunks, self.rows = chunks, rows

    def all_keys(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the paper's sum of share times log denominator, and its slopes by product (N, R, K)."""
        logits = self._logits()
        own = self.chunks
        if own.key_side is not None:  # keys of the other image only as positives
            logits.masked_fill_(~(self._same() | own.key_side), NEGLIGIBLE)
        highest = logits.amax(2, keepdim=True)
        terms = logits.sub_(highest).exp_()
        sums = terms.sum(2, keepdim=True)
        value = ((sums.log() + highest)[..., 0] * share).sum()
        return value, terms.mul_(share[..., None] / sums)

    def own_negatives(self, each: Tensor) -> tuple[Tensor, Tensor]:
        """Return the released sum over positives of share times log(1 + negatives / own term), and its slopes.

        Args:
            each: (N, R) share of an anchor over the number of its positives.
        """
        logits, same = self._logits(), self._same()
        highest = logits.amax(2, keepdim=True)
        terms = logits.sub_(highest).exp_()
        pushes = terms.masked_fill(self._not_negative(same), 0)
        below = pushes.sum(2, keepdim=True)
        together = terms.add_(below)
        # log(1 + b / t) = log(t + b) - log t; the logarithms of the terms are products, whose sum over the positives is
        # a product with their sum.
        logs = together.log().masked_fill_(~same, 0).sum(2) - self._sum_over_positives(highest[..., 0])
        each = each.where(below[..., 0] > 0, 0)
        pulls = together.reciprocal_().mul_(below * each[..., None]).masked_fill_(~same, 0)
        smallest = torch.finfo(below.dtype).tiny
        weights = pushes.mul_(pulls.sum(2, keepdim=True) / below.clamp(min=smallest)).sub_(pulls)
        return (logs * each).sum(), weights

    def _sum_over_positives(self, highest: Tensor) -> Tensor:
        """Return the sum of an anchor's products over tau with its positives, less ``highest`` (N, R) each; (N, R)."""
        own = self.chunks
        labels = own.labels[:, self.rows]
        slots = torch.where((labels >= 0) & (labels < own.options.num_classes), labels, 0).long()
        products = (own.anchors[:, self.rows] @ own.sums.transpose(1, 2)).gather(2, slots[..., None])[..., 0]
        return products / own.options.temperature - own.counts.gather(1, slots) * highest

    def _logits(self) -> Tensor:
        """Return the products over tau, (N, R, K); hardly above -inf for keys that take no part."""
        own = self.chunks
        factor = 1 / own.options.temperature
        return torch.baddbmm(own.bias, own.anchors[:, self.rows], own.keys.transpose(1, 2), alpha=factor)

    def _same(self) -> Tensor:
        """Return which keys have an anchor's label, bool (N, R, K)."""
        own = self.chunks
        return (own.labels[:, self.rows, None] == own.key_labels[:, None]) & own.valid[:, None]

    def _not_negative(self, same: Tensor) -> Tensor:
        """Return which keys have an anchor's label or are of another image; keys that take no part add nothing."""
        own = self.chunks
        if own.side is None or own.key_side is None:
            return same
        return same | (own.side[self.rows, None] != own.key_side)


class _Chunks:
    """Chunks of anchors whose products with all keys take a given number of bytes."""

    def __init__(
        self,
        anchors: Tensor,
        keys: Tensor,
        labels: Tensor,
        key_labels: Tensor,
        side: Tensor | None,
        key_side: Tensor | None,
        options: _Options,
    ) -> None:
        self.anchors, self.keys, self.labels, self.key_labels = anchors, keys, labels, key_labels
        self.side, self.key_side, self.options = side, key_side, options
        self.valid = (key_labels >= 0) & (key_labels < options.num_classes)
        self.bias = torch.zeros_like(key_labels, dtype=keys.dtype).masked_fill_(~self.valid, NEGLIGIBLE)[:, None]
        classes = torch.arange(options.num_classes, device=key_labels.device)
        members = (key_labels[:, None] == classes[:, None]).to(keys)
        self.sums, self.counts = members @ keys, members.sum(2)  # (N, C, D) and (N, C)
        row_bytes = keys.shape[0] * keys.shape[1] * keys.element_size()
        usual = _CPU_BYTES if keys.device.type == "cpu" else _OTHER_BYTES
        self.size = max(1, (options.chunk_bytes or usual) // max(1, row_bytes))

    def __iter__(self) -> Any:
        number = self.anchors.shape[1]
        return (_Chunk(self, slice(start, min(start + self.size, number))) for start in range(0, number, self.size))
