"""Prototype bank of a network, collected from the training images."""

import torch
from torch import Tensor

from segbench.core.errors import RunFault
from segbench.methods.base import Gatherer
from segbench.models.decoders.segsort.clustering import cells_of_side, grid_of, member_sums, unit
from segbench.models.decoders.segsort.network import SegSort as Decoder
from segbench.models.segmentor import Segmentor


class BankGatherer(Gatherer):
    """Collector of one prototype per segment of whole images: the mean of the pixels of its majority class.

    Places run from 0 to 1 inclusive here, as in the released code (``extract_prototypes.py``).

    Args:
        segmentor: network to evaluate.
        decoder: its decoder, whose bank is filled.
        grid: rows and columns of the initial k-means grid.
        num_classes: C.
        images: approximate number of images wanted; None: all.
    """

    def __init__(
        self, segmentor: Segmentor, decoder: Decoder, *, grid: tuple[int, int], num_classes: int, images: int | None
    ) -> None:
        self.images = images
        self._segmentor, self._decoder, self._grid, self._num_classes = segmentor, decoder, grid, num_classes
        self._prototypes: list[Tensor] = []
        self._labels: list[Tensor] = []

    def embed(self, images: Tensor) -> Tensor:
        return self._decoder.gathered(self._segmentor.backbone(images))

    def add(self, embedding: Tensor, target: Tensor) -> None:
        labels = target.flatten(1)
        valid = (labels >= 0) & (labels < self._num_classes)
        embedding = unit(embedding, dim=1)
        clusters = self._clusters(embedding, valid)
        num_clusters, classes = self._grid[0] * self._grid[1], self._num_classes
        pairs = (clusters * classes + labels)[valid]
        counts = torch.bincount(pairs, minlength=num_clusters * classes).view(num_clusters, classes)
        majority = counts.argmax(1)
        kept = valid & (labels == majority[clusters])
        pixels = embedding.flatten(2).transpose(1, 2)
        sums, members = member_sums(pixels, clusters, num_clusters=num_clusters, valid=kept)
        there = members[0] > 0
        self._prototypes.append(unit(sums[0, there], dim=1))
        self._labels.append(majority[there])

    def finish(self) -> None:
        if not any(map(len, self._labels)):
            raise RunFault("No pixel of the training images is labelled: the bank of prototypes stays empty.")
        self._decoder.fill(torch.cat(self._prototypes), torch.cat(self._labels))

    def _clusters(self, embedding: Tensor, valid: Tensor) -> Tensor:
        height, width = embedding.shape[-2:]
        (down, across), device = self._grid, embedding.device
        first = grid_of(
            cells_of_side(height, down, device=device)[None],
            cells_of_side(width, across, device=device)[None],
            across=across,
        )
        return self._decoder.cluster(
            embedding,
            torch.linspace(0, 1, height, device=device)[None],
            torch.linspace(0, 1, width, device=device)[None],
            first,
            num_clusters=down * across,
            valid=valid,
        )
