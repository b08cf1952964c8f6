"""ClassMix: pixels of some classes of one image are pasted into another, with their labels.

Olsson et al., "ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning", section 3, in the form
of SemiSeg-Contrastive's released code: each image receives from the next one of the batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segbench.data.classes import IGNORE


class Mixed(NamedTuple):
    """Images, labels and confidence after mixing; confidence is None if none was given."""

    images: Tensor
    labels: Tensor
    confidence: Tensor | None


def classmix(
    images: Tensor,
    labels: Tensor,
    *,
    keys: Tensor,
    applied: Tensor | None = None,
    skip: Sequence[int] = (),
    confidence: Tensor | None = None,
) -> Mixed:
    """Paste the pixels of the drawn classes of image i + 1 into image i, those of the first image into the last.

    Of the classes present in an image's label, without ignored pixels and without ``skip`` as far as anything else is
    present, ``floor(n / 2) + 1`` are drawn without replacement: the ones with the lowest keys.

    Args:
        images: (N, 3, H, W).
        labels: (N, H, W) labels or pseudo-labels, 0..255, 255 for none.
        keys: (N, 256), independent and uniform in [0, 1), one per class.
        applied: (N,) bool, images that receive pixels; None for all.
        skip: classes that are not pasted if others are present.
        confidence: (N, H, W), pasted with the pixels.

    Returns:
        Tensors like the given ones, without synchronization.
    """
    drawn = _drawn_classes(labels, keys, skip)
    pasted = drawn.gather(1, labels.flatten(1).long()).view_as(labels).roll(-1, 0)
    if applied is not None:
        pasted = pasted & applied.view(-1, 1, 1)
    return Mixed(
        torch.where(pasted.unsqueeze(1), images.roll(-1, 0), images),
        torch.where(pasted, labels.roll(-1, 0), labels),
        None if confidence is None else torch.where(pasted, confidence.roll(-1, 0), confidence),
    )


def _drawn_classes(labels: Tensor, keys: Tensor, skip: Sequence[int]) -> Tensor:
    """Return the classes to paste, (N, 256) bool."""
    candidates = torch.zeros(keys.shape, dtype=torch.bool, device=labels.device)
    candidates = candidates.scatter(1, labels.flatten(1).long(), True)
    for unwanted in ((IGNORE,), skip):
        if unwanted:
            wanted = torch.ones(keys.shape[1], dtype=torch.bool, device=labels.device)
            for number in unwanted:
                wanted[number] = False
            others = candidates & wanted
            candidates = torch.where(others.any(dim=1, keepdim=True), others, candidates)
    wanted_count = candidates.sum(dim=1, keepdim=True) // 2 + 1
    ranks = torch.where(candidates, keys, 2.0).argsort(dim=1).argsort(dim=1)
    return candidates & (ranks < wanted_count)
