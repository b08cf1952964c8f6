"""The loss of SegSort (Hwang et al. 2019, arXiv 1910.06962, section 3.2; formulas as in its released code)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .precision import NEGLIGIBLE, at_least_float32, without_autocast

_CHUNK_ELEMENTS = 2**25  # similarities at a time
_LEAST_NORM = 1e-6


class Segments(NamedTuple):
    """Labelled pixels and the prototypes that they form.

    A prototype is the normalised sum of the pixels of one class in one cluster of one image.

    Attributes:
        pixels: (S, D) embeddings of the labelled pixels.
        labels: (S,) int64, their classes.
        own: (S,) int64 in 0..M-1, the prototype that each of them belongs to.
        prototypes: (M, D) unit vectors; they have a gradient.
        classes: (M,) int64.
    """

    pixels: Tensor
    labels: Tensor
    own: Tensor
    prototypes: Tensor
    classes: Tensor


def segments_of(
    embeddings: Tensor, labels: Tensor, clusters: Tensor, *, num_clusters: int, num_classes: int
) -> Segments:
    """Split clusters by class. Reading the number of prototypes waits for the device.

    Args:
        embeddings: (N, D, h, w) unit vectors.
        labels: (N, h, w) integers; those outside 0..C-1 are ignored.
        clusters: (N, h, w) int64 in 0..K-1.
        num_clusters: K.
        num_classes: C.
    """
    images = torch.arange(len(labels), device=labels.device)[:, None, None]
    labelled = (labels >= 0) & (labels < num_classes)
    groups = (images * num_clusters + clusters) * num_classes + labels
    pixels = at_least_float32(embeddings).movedim(1, -1)[labelled]
    present, own = torch.unique(groups[labelled], return_inverse=True)
    sums = pixels.new_zeros(len(present), pixels.shape[1]).index_add(0, own, pixels)
    prototypes = F.normalize(sums, dim=1, eps=_LEAST_NORM)
    return Segments(pixels, labels[labelled].long(), own, prototypes, present % num_classes)


def segsort_loss(
    segments: Segments,
    *,
    earlier: tuple[Tensor, Tensor] | None = None,
    concentration: float = 10.0,
    chunk: int | None = None,
) -> Tensor:
    """Return the mean over the labelled pixels i of -log(P / (P + Q)) with s(i, k) = exp(kappa e_i . p_k).

    P is the sum of s over the prototypes of the pixel's class except its own, or s of its own if it is the only one; Q
    is the sum over the prototypes of other classes. All images of a batch share their prototypes.

    Args:
        segments: segments of the batch.
        earlier: prototypes (L, D) of earlier batches, which are constants, and their classes (L,).
        concentration: kappa > 0.
        chunk: pixels at a time; None: as memory allows.

    Returns:
        A scalar, 0 if nothing is labelled, always differentiable.
    """
    pixels, labels, own, keys, classes = segments
    if earlier is not None:
        keys = torch.cat([keys, earlier[0].detach().to(keys)])
        classes = torch.cat([classes, earlier[1].to(classes)])
    if not len(pixels):
        return pixels.sum()
    only_own = torch.bincount(classes)[labels] == 1  # a pixel's own prototype always exists
    size = chunk or max(1, _CHUNK_ELEMENTS // len(classes))
    losses = []
    with without_autocast(pixels):
        for start in range(0, len(pixels), size):
            place = slice(start, start + size)
            arguments = (pixels[place], labels[place], own[place], only_own[place], keys, classes, concentration)
            if size >= len(pixels):
                losses.append(_of_pixels(*arguments))
            else:  # all similarities at once may not fit into memory
                losses.append(checkpoint(_of_pixels, *arguments, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(losses).mean()


def _of_pixels(
    pixels: Tensor, labels: Tensor, own: Tensor, only_own: Tensor, keys: Tensor, classes: Tensor, concentration: float
) -> Tensor:
    """Return the loss of each pixel, (S,)."""
    scores = (concentration * pixels) @ keys.T
    same = labels[:, None] == classes
    mine = own[:, None] == torch.arange(len(classes), device=own.device)
    others = scores.masked_fill(~same | mine, NEGLIGIBLE).logsumexp(1)
    attract = torch.where(only_own, scores.gather(1, own[:, None])[:, 0], others)
    repel = scores.masked_fill(same, NEGLIGIBLE).logsumexp(1)
    return -F.logsigmoid(attract - repel)
