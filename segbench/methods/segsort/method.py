"""SegSort (Hwang et al. 2019, arXiv 1910.06962): segments by clustering, sorted by a contrast; released code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import Size
from segbench.losses.resize import resize_labels
from segbench.losses.segsort import segments_of, segsort_loss
from segbench.methods.base import Method
from segbench.methods.step import StepInfo
from segbench.models.decoders.segsort.clustering import grid_of
from segbench.models.decoders.segsort.network import SegSort as Decoder

from .bank import BankGatherer
from .options import Options
from .prototype_queue import PrototypeQueue

if TYPE_CHECKING:
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor

_ROUNDING = 1e-4  # of a cell; places are row indices over their number in float32


class SegSort(Method):
    """Training of an embedding with the loss ``segsort``; its prototype bank is filled before each evaluation.

    New prototypes are held back until the step is over, so that all micro-batches see the same ones.

    Args:
        options: options of the method.
        segmentor: network to train.
        num_classes: C.
        seed: unused, as nothing is drawn.

    Raises:
        InvalidFault: the decoder is not SegSort's.
    """

    wants_logits = False

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(segmentor, seed=seed)
        if not isinstance(segmentor.decoder, Decoder):
            raise InvalidFault("The method segsort trains the decoder segsort and no other one.", next="segbench list")
        self.options, self.num_classes = options, num_classes
        # Saved states call it so.
        self.memory = PrototypeQueue(segmentor.embedding_channels, batches=options.memory_batches)
        self._new: list[tuple[Tensor, Tensor]] = []
        self._label_size: Size | None = None  # (h, w) of the labels that the loss was last taken on

    @property
    def decoder(self) -> Decoder:
        decoder = self.segmentor.decoder
        assert isinstance(decoder, Decoder)
        return decoder

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        batch = batches["labelled"]
        embedding: Tensor = self.segmentor(batch.images, batch.rows).embedding
        size = self._label_size = (embedding.shape[-2], embedding.shape[-1])
        labels = resize_labels(batch.target, size)
        down, across = self.options.cluster_grid
        segments = segments_of(
            embedding,
            labels,
            self._clusters(embedding, labels, batch),
            num_clusters=down * across,
            num_classes=self.num_classes,
        )
        earlier = (self.memory.vectors, self.memory.classes)
        loss = segsort_loss(segments, earlier=earlier, concentration=self.options.concentration)
        if self.training:
            if info.micro_batch == 0:  # some may be left by a step that was abandoned
                self._new = []
            self._new.append((segments.prototypes.detach(), segments.classes))
        return {"segsort": loss}

    def after_step(self, info: StepInfo) -> None:
        """Push the step's prototypes to the queue."""
        if self._new:
            vectors, classes = (torch.cat(each) for each in zip(*self._new, strict=True))
            self.memory.push(vectors, classes)
        self._new = []

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        target = batches["labelled"].target
        if self._label_size is not None:
            target = resize_labels(target, self._label_size)
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
        """Return the segments (N, h, w) int64 of the labelled pixels; the initial grid is that of the whole picture."""
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
    """Return the places (N, wanted) of the rows or columns that small labels sample; None: of whole pictures."""
    if given is None:
        given = (torch.arange(length, device=like.device) / length).expand(len(like), -1)
    return resize_labels(given[:, :, None], (wanted, 1))[:, :, 0]


def _cells(places: Tensor, cells: int) -> Tensor:
    """Return the cell (N, n) int64 of a picture's side that each place lies in; padding counts to the last one."""
    return (places * cells + _ROUNDING).long().clamp(max=cells - 1)


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> SegSort:
    """Build the method."""
    return SegSort(options, segmentor, num_classes=num_classes, seed=seed)
