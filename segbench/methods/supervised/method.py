"""Supervised training, alone and as the ground of the contrastive methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.losses.class_weights import resolve_class_weights
from segbench.losses.cross_entropy import cross_entropy
from segbench.methods.base import Method

from .options import Options

if TYPE_CHECKING:
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor, SegmentorOutput


class Supervised(Method):
    """Losses ``ce`` and, where the network has auxiliary logits, ``aux`` (their weighted sum).

    Args:
        options: what the recipe says.
        segmentor: the network.
        num_classes: C.
        seed: of all draws.

    Raises:
        InvalidFault: the class weights are not C.
    """

    class_weights: Tensor | None

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(segmentor, seed=seed)
        self.num_classes = num_classes
        self.aux_weight = options.aux_weight
        weights = resolve_class_weights(options.class_weights)
        if weights is not None and len(weights) != num_classes:
            raise InvalidFault(f"There are {len(weights)} class weights for {num_classes} classes.")
        buffer = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        # Not part of checkpoints: the recipe says it.
        self.register_buffer("class_weights", buffer, persistent=False)

    def forward(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        return self.segment(batches["labelled"])[1]

    def segment(self, batch: Batch) -> tuple[SegmentorOutput, dict[str, Tensor]]:
        """The network's output and the supervised losses of a batch."""
        output = self.segmentor(batch.images)
        losses = {"ce": self._cross_entropy(output.logits, batch.target)}
        if output.aux:
            terms = [self._cross_entropy(logits, batch.target) for logits in output.aux.values()]
            losses["aux"] = self.aux_weight * torch.stack(terms).sum()
        return output, losses

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        height, width = target.shape[-2:]
        resized = self.segmentor.resize(logits, (height, width))
        return cross_entropy(resized, target, class_weights=self.class_weights)


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> Supervised:
    """The entry's method."""
    return Supervised(options, segmentor, num_classes=num_classes, seed=seed)
