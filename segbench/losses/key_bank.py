"""Key bank of ContrastiveSeg (ICCV 2021, arXiv 2101.11939): a queue of regions and one of pixels for every class.

A region is the mean embedding of a class in an image. Queues are ring buffers in one tensor, written in place and read
as a view. No value of a tensor is read, so nothing waits for the device.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pixel_anchor import class_masks, unit_vectors
from .pixel_contrast import unit_vectors_at
from .precision import without_autocast
from .sampling import image_class_groups, rank_in_groups


class NewKeys(NamedTuple):
    """New keys of some images, by image and class.

    Attributes:
        regions: (N, C, R, D) unit vectors, float32.
        has_region: (N, C, R) bool.
        pixels: (N, C, V, D) unit vectors, float32.
        has_pixel: (N, C, V) bool; the first slots are the filled ones.
    """

    regions: Tensor
    has_region: Tensor
    pixels: Tensor
    has_pixel: Tensor


@torch.no_grad()
def keys_of_images(
    embeddings: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    regions: int = 1,
    pixels: int = 10,
    from_first: bool = False,
    generator: torch.Generator | None = None,
) -> NewKeys:
    """Return the region of every class of every image, and random pixels of the class.

    Args:
        embeddings: (N, D, h, w) of any floating type and length.
        labels: (N, h, w) integers; those outside 0..C-1 are ignored.
        regions: 1, or 0 for none.
        pixels: V, the largest number of pixels of an (image, class).
        from_first: draw a class's n pixels from the first n pixels of the image, whatever their class; to study a
            defect, see the method's options.
        generator: draws the pixels; None takes the first ones in raster order.
    """
    images = len(embeddings)
    vectors = unit_vectors(embeddings)
    members = class_masks(labels, num_classes=num_classes).flatten(2)
    with without_autocast(vectors.values):
        sums = torch.bmm(members * vectors.factor, vectors.values.transpose(1, 2))
    means, present = F.normalize(sums, dim=2)[:, :, None], members.any(2)[:, :, None]

    groups = image_class_groups(labels, num_classes=num_classes)
    pairs, area = images * num_classes, labels[0].numel()
    if from_first:
        places, valid = _among_first(members.sum(2), pixels, area=area, generator=generator)
    else:
        ranks = rank_in_groups(groups, num_groups=pairs, generator=generator).ranks
        slots = torch.where((groups < pairs) & (ranks < pixels), groups * pixels + ranks, pairs * pixels)
        positions = torch.arange(len(groups), device=groups.device)
        filled = torch.full((pairs * pixels + 1,), -1, device=groups.device).scatter_(0, slots, positions)[:-1]
        places, valid = filled.clamp(min=0), filled >= 0
    found = unit_vectors_at(embeddings, places.view(images, num_classes, pixels))
    return NewKeys(means[:, :, :regions], present[:, :, :regions], found, valid.view(images, num_classes, pixels))


def _among_first(counts: Tensor, pixels: int, *, area: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """For each of the (N, C) counts n, draw places of min(n, pixels) of the image's first n pixels."""
    scores = torch.rand((*counts.shape, area), generator=generator, device=counts.device)
    scores = scores.masked_fill(torch.arange(area, device=counts.device) >= counts[..., None], -1)
    found = scores.topk(pixels, dim=2)
    offsets = torch.arange(len(counts), device=counts.device)[:, None, None] * area
    return (found.indices + offsets).flatten(), (found.values >= 0).flatten()


class KeyBank(nn.Module):
    """Queues of the newest regions and pixels of every class.

    Args:
        num_classes: C.
        dim: D, of the embedding.
        regions: length of a class's queue of regions.
        pixels: length of a class's queue of pixels.
    """

    keys: Tensor
    filled: Tensor
    heads: Tensor

    def __init__(self, num_classes: int, dim: int, *, regions: int, pixels: int) -> None:
        super().__init__()
        self.num_classes, self.sizes, self.length = num_classes, (regions, pixels), regions + pixels
        # One more row takes what is dropped, so that every update writes equally many rows.
        self.register_buffer("keys", torch.zeros(num_classes * self.length + 1, dim))
        self.register_buffer("filled", torch.zeros(2, num_classes, dtype=torch.int64))
        self.register_buffer("heads", torch.zeros(2, num_classes, dtype=torch.int64))

    def view(self) -> Tensor:
        """Return all keys (C, L, D) without a copy; of each class its queue of regions, then its queue of pixels."""
        return self.keys[:-1].view(self.num_classes, self.length, -1)

    def valid(self) -> Tensor:
        """Return which keys have been written, (C, L) bool."""
        queues = [
            torch.arange(size, device=self.filled.device) < count[:, None]
            for size, count in zip(self.sizes, self.filled, strict=True)
        ]
        return torch.cat(queues, 1)

    @torch.no_grad()
    def push(self, new: NewKeys) -> None:
        """Append keys to their queues in order of the images, overwriting the oldest ones."""
        self._append(0, new.regions, new.has_region)
        self._append(1, new.pixels, new.has_pixel)
        self.keys[-1].zero_()

    def _append(self, queue: int, vectors: Tensor, valid: Tensor) -> None:
        """Append (N, C, V, D) vectors of which (N, C, V) are valid, the first ones of the last dimension."""
        size, slots = self.sizes[queue], vectors.shape[2]
        counts = valid.sum(2)
        total = counts.sum(0)
        order = (counts.cumsum(0) - counts)[..., None] + torch.arange(slots, device=valid.device)
        kept = valid & (order >= (total - size)[:, None])  # without what this very update would overwrite
        self._write(queue, (self.heads[queue][:, None] + order) % max(1, size), vectors, kept)
        self.heads[queue] = (self.heads[queue] + total) % max(1, size)
        self.filled[queue] = (self.filled[queue] + total).clamp(max=size)

    def _write(self, queue: int, positions: Tensor, vectors: Tensor, kept: Tensor) -> None:
        """Write vectors (..., C, V, D) to positions (..., C, V) of their class's queue where ``kept``."""
        classes = torch.arange(self.num_classes, device=positions.device)[:, None]
        rows = classes * self.length + queue * self.sizes[0] + positions
        rows = torch.where(kept, rows, len(self.keys) - 1)
        self.keys.index_copy_(0, rows.flatten(), vectors.reshape(-1, vectors.shape[-1]).to(self.keys))


class ReleasedBank(KeyBank):
    """Key bank of the released code with its defects, each of which can be switched on by itself.

    Args:
        num_classes: C.
        dim: D, of the embedding.
        regions: length of a class's queue of regions.
        pixels: length of a class's queue of pixels.
        noise: the bank starts with Gaussian directions, which count as keys.
        zero_class: class 0 is never written and has zero vectors for keys.
        one_step: the pixels' head moves on by 1 an image; where they do not fit before the end, they take its last
            places and the head returns to 0.
    """

    def __init__(
        self, num_classes: int, dim: int, *, regions: int, pixels: int, noise: bool, zero_class: bool, one_step: bool
    ) -> None:
        super().__init__(num_classes, dim, regions=regions, pixels=pixels)
        self.noise, self.zero_class, self.one_step = noise, zero_class, one_step
        if noise:
            self.keys.copy_(F.normalize(torch.randn_like(self.keys), dim=1))
        if zero_class:
            self.keys[: self.length] = 0
        self.keys[-1] = 0

    def valid(self) -> Tensor:
        if self.noise:
            return torch.ones_like(super().valid())
        zeros = torch.arange(self.num_classes, device=self.filled.device)[:, None] == 0
        return super().valid() | (zeros & self.zero_class)

    @torch.no_grad()
    def push(self, new: NewKeys) -> None:
        if self.zero_class:
            wanted = torch.arange(self.num_classes, device=new.has_pixel.device)[:, None] > 0
            new = new._replace(has_region=new.has_region & wanted, has_pixel=new.has_pixel & wanted)
        super().push(new)

    def _append(self, queue: int, vectors: Tensor, valid: Tensor) -> None:
        if queue == 0 or not self.one_step:
            super()._append(queue, vectors, valid)
            return
        size = self.sizes[queue]
        slots = torch.arange(vectors.shape[2], device=valid.device)
        for image, wanted in zip(vectors, valid, strict=True):
            head, count = self.heads[queue], wanted.sum(1)
            fits = head + count < size
            self._write(queue, torch.where(fits, head, size - count)[:, None] + slots, image, wanted)
            end = torch.where(fits, head + count, size)
            moved = torch.where(fits, (head + 1) % size, 0)
            self.heads[queue] = torch.where(count > 0, moved, head)
            self.filled[queue] = torch.where(count > 0, torch.maximum(self.filled[queue], end), self.filled[queue])
