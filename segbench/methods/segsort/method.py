"""SegSort (Hwang et al. 2019, arXiv 1910.06962): segments by clustering, sorted by a contrast; released code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.losses.resize import resize_labels
from segbench.losses.segsort import segments_of, segsort_loss
from segbench.methods.base import Method
from segbench.models.decoders.segsort.clustering import grid_of
from segbench.models.decoders.segsort.network import SegSort as Decoder

from .bank import BankGatherer
from .memory import PrototypeMemory
from .options import Options

if TYPE_CHECKING:
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor

_ROUNDING = 1e-4  # of a cell; places are numbers of rows over their count in float32


class SegSort(Method):
    """Loss ``segsort``; the network learns an embedding, and its bank is filled before it is evaluated.

    What a step gives to the memory is kept aside until the step is over, so all parts of a batch see the same keys.

    Args:
        options: what the recipe says.
        segmentor: the network.
        num_classes: C.
        seed: of all draws; there are none.

    Raises:
        InvalidFault: the network has no bank.
    """

    wants_logits = False

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(segmentor, seed=seed)
        if not isinstance(segmentor.decoder, Decoder):
            raise InvalidFault("The method segsort trains the decoder segsort and no other one.", next="segbench list")
        self.options, self.num_classes = options, num_classes
        self.memory = PrototypeMemory(segmentor.embedding_channels, batches=options.memory_batches)
        self._new: list[tuple[Tensor, Tensor]] = []

    @property
    def decoder(self) -> Decoder:
        decoder = self.segmentor.decoder
        assert isinstance(decoder, Decoder)
        return decoder

    def forward(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        batch = batches["labelled"]
        embedding: Tensor = self.segmentor(batch.images, batch.rows).embedding
        size = (embedding.shape[-2], embedding.shape[-1])
        labels = resize_labels(batch.target, size)
        down, across = self.options.cluster_grid
        segments = segments_of(
            embedding,
            labels,
            self._clusters(embedding, labels, batch),
            num_clusters=down * across,
            num_classes=self.num_classes,
        )
        memory = (self.memory.vectors, self.memory.classes)
        loss = segsort_loss(segments, memory=memory, concentration=self.options.concentration)
        if self.training:
            if self.part == 0:  # a step that was begun and given up left its own
                self._new = []
            self._new.append((segments.prototypes.detach(), segments.classes))
        return {"segsort": loss}

    def after_step(self, step: int) -> None:
        """Put the step's prototypes into the memory."""
        if self._new:
            vectors, classes = (torch.cat(each) for each in zip(*self._new, strict=True))
            self.memory.push(vectors, classes)
        self._new = []

    def mean_over(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        # At the labels' resolution; those that the loss is taken at are a sample of them.
        target = batches["labelled"].target
        return {"segsort": ((target >= 0) & (target < self.num_classes)).sum()}

    def gatherer(self) -> BankGatherer:
        options = self.options
        return BankGatherer(
            self.segmentor,
            self.decoder,
            grid=options.bank_grid,
            num_classes=self.num_classes,
            images=options.bank_images,
        )

    def _clusters(self, embedding: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """(N, h, w) int64: segments of the labelled pixels; places and first clusters are of the whole picture."""
        size, grid = (labels.shape[-2], labels.shape[-1]), self.options.cluster_grid
        rows, columns = (
            _places(given, length, wanted, like=embedding)
            for given, length, wanted in zip((batch.rows, batch.columns), batch.target.shape[-2:], size, strict=True)
        )
        first = grid_of(*(_cells(*pair) for pair in zip((rows, columns), grid, strict=True)), across=grid[1])
        valid = ((labels >= 0) & (labels < self.num_classes)).flatten(1)
        clusters = self.decoder.cluster(embedding, rows, columns, first, num_clusters=grid[0] * grid[1], valid=valid)
        return clusters.unflatten(1, size)


def _places(given: Tensor | None, length: int, wanted: int, *, like: Tensor) -> Tensor:
    """(N, wanted): places of the rows or columns that the small labels are taken from; None: of whole pictures."""
    if given is None:
        given = (torch.arange(length, device=like.device) / length).expand(len(like), -1)
    return resize_labels(given[:, :, None], (wanted, 1))[:, :, 0]


def _cells(places: Tensor, cells: int) -> Tensor:
    """(N, n) int64: which of the cells of a picture's side a place lies in; padding counts to the last one."""
    return (places * cells + _ROUNDING).long().clamp(max=cells - 1)


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> SegSort:
    """The entry's method."""
    return SegSort(options, segmentor, num_classes=num_classes, seed=seed)
