"""The memory of ContrastiveSeg (ICCV 2021, arXiv 2101.11939): a queue of regions and one of pixels for every class.

A region is the mean embedding of a class in an image. Queues are ring buffers in one tensor that is written in place
and read as a view. Nothing here looks at a value of a tensor.
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
    """What images give to the memory, image after image and class by class.

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
    """The region of every class of every image, and random pixels of it.

    Args:
        embeddings: (N, D, h, w) of any floating type and length.
        labels: (N, h, w) integers; those outside 0..C-1 are ignored.
        regions: 1, or 0 for none.
        pixels: V, at most so many of an (image, class).
        from_first: a class of n pixels gives some of the image's first n pixels, whatever these are. For the study of
            a defect, see the method's options.
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
    """For each of (N, C) counts n, places of min(n, pixels) random ones of the image's first n pixels."""
    scores = torch.rand((*counts.shape, area), generator=generator, device=counts.device)
    scores = scores.masked_fill(torch.arange(area, device=counts.device) >= counts[..., None], -1)
    found = scores.topk(pixels, dim=2)
    offsets = torch.arange(len(counts), device=counts.device)[:, None, None] * area
    return (found.indices + offsets).flatten(), (found.values >= 0).flatten()


class KeyMemory(nn.Module):
    """Queues of the newest regions and pixels of every class.

    Args:
        num_classes: C.
        dim: D, of the embedding.
        regions: places of a class in its queue of regions.
        pixels: places of a class in its queue of pixels.
    """

    keys: Tensor
    filled: Tensor
    heads: Tensor

    def __init__(self, num_classes: int, dim: int, *, regions: int, pixels: int) -> None:
        super().__init__()
        self.num_classes, self.sizes, self.length = num_classes, (regions, pixels), regions + pixels
        # One row more takes what is not to be kept, so that every update writes equally many rows.
        self.register_buffer("keys", torch.zeros(num_classes * self.length + 1, dim))
        self.register_buffer("filled", torch.zeros(2, num_classes, dtype=torch.int64))
        self.register_buffer("heads", torch.zeros(2, num_classes, dtype=torch.int64))

    def view(self) -> Tensor:
        """(C, L, D), no copy: of each class its queue of regions, then its queue of pixels."""
        return self.keys[:-1].view(self.num_classes, self.length, -1)

    def valid(self) -> Tensor:
        """(C, L) bool: which keys have been written."""
        parts = [
            torch.arange(size, device=self.filled.device) < count[:, None]
            for size, count in zip(self.sizes, self.filled, strict=True)
        ]
        return torch.cat(parts, 1)

    @torch.no_grad()
    def push(self, new: NewKeys) -> None:
        """Append keys to their queues in order of the images; the oldest ones give way."""
        self._append(0, new.regions, new.has_region)
        self._append(1, new.pixels, new.has_pixel)
        self.keys[-1].zero_()

    def _append(self, queue: int, vectors: Tensor, valid: Tensor) -> None:
        """Append (N, C, V, D) vectors of which (N, C, V) are valid, the first ones of the last dimension."""
        size, slots = self.sizes[queue], vectors.shape[2]
        counts = valid.sum(2)
        total = counts.sum(0)
        order = (counts.cumsum(0) - counts)[..., None] + torch.arange(slots, device=valid.device)
        kept = valid & (order >= (total - size)[:, None])  # what this very update would overwrite is left out
        self._write(queue, (self.heads[queue][:, None] + order) % max(1, size), vectors, kept)
        self.heads[queue] = (self.heads[queue] + total) % max(1, size)
        self.filled[queue] = (self.filled[queue] + total).clamp(max=size)

    def _write(self, queue: int, positions: Tensor, vectors: Tensor, kept: Tensor) -> None:
        """Write vectors (..., C, V, D) to positions (..., C, V) of their class's queue where ``kept``."""
        classes = torch.arange(self.num_classes, device=positions.device)[:, None]
        rows = classes * self.length + queue * self.sizes[0] + positions
        rows = torch.where(kept, rows, len(self.keys) - 1)
        self.keys.index_copy_(0, rows.flatten(), vectors.reshape(-1, vectors.shape[-1]).to(self.keys))


class ReleasedMemory(KeyMemory):
    """The release's memory with what is wrong in it, for study; each defect can be had alone.

    Args:
        num_classes: C.
        dim: D, of the embedding.
        regions: places of a class in its queue of regions.
        pixels: places of a class in its queue of pixels.
        noise: it starts with Gaussian directions, which count as keys.
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
