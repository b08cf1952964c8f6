"""Supervised training, alone and as the ground of the contrastive methods."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.losses.class_weights import resolve_class_weights
from segbench.losses.cross_entropy import cross_entropy, labelled_weight
from segbench.losses.resize import resize_labels
from segbench.methods.base import Method, ParamGroup

from .extra import build_extra
from .options import Options

if TYPE_CHECKING:
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor, SegmentorOutput


class Supervised(Method):
    """Losses ``ce``, where the network has auxiliary logits ``aux`` (their weighted sum), and that of ``extra_loss``.

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
        self.ce_weight, self.aux_weight, self.loss_at = options.ce_weight, options.aux_weight, options.loss_at
        extra = options.extra_loss
        self.extra = None if extra is None else build_extra(extra, num_classes=num_classes)
        weights = resolve_class_weights(options.class_weights)
        if weights is not None and len(weights) != num_classes:
            raise InvalidFault(f"There are {len(weights)} class weights for {num_classes} classes.")
        buffer = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        # Not part of checkpoints: the recipe says it.
        self.register_buffer("class_weights", buffer, persistent=False)

    def forward(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        return self.segment(batches["labelled"], step)[1]

    def mean_over(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        # At the labels' resolution; those of smaller logits are a sample of them.
        weight = labelled_weight(batches["labelled"].target, class_weights=self.class_weights)
        return {"ce": weight, "aux": weight}

    def param_groups(self) -> list[ParamGroup]:
        """Those of every method, and one without weight decay for what the extra loss learns."""
        groups, prefix = super().param_groups(), "extra."
        own = [item for group in groups for item in group.params if item[0].startswith(prefix)]
        if not own:
            return groups
        others = [[item for item in group.params if not item[0].startswith(prefix)] for group in groups]
        kept = [replace(group, params=params) for group, params in zip(groups, others, strict=True)]
        return [*kept, ParamGroup("extra loss", own, decays=False)]

    def segment(self, batch: Batch, step: int) -> tuple[SegmentorOutput, dict[str, Tensor]]:
        """The network's output and the supervised losses of a batch."""
        output = self.segmentor(batch.images, batch.rows)
        final = self._at(self.loss_at, output.logits, batch.target)
        losses = {"ce": self.ce_weight * cross_entropy(*final, class_weights=self.class_weights)}
        if output.aux:
            pairs = [self._at(self.loss_at, logits, batch.target) for logits in output.aux.values()]
            terms = [cross_entropy(*pair, class_weights=self.class_weights) for pair in pairs]
            losses["aux"] = self.aux_weight * torch.stack(terms).sum()
        if self.extra is not None:
            place = self.extra.at
            pair = final if place == self.loss_at else self._at(place, output.logits, batch.target)
            losses[self.extra.name] = self.extra.factor(self.progress(step)) * self.extra(*pair)
        return output, losses

    def _at(self, place: Literal["labels", "logits"], logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and labels at the resolution of the one or the other."""
        if place == "logits":
            return logits, resize_labels(target, (logits.shape[-2], logits.shape[-1]))
        return self.segmentor.resize(logits, (target.shape[-2], target.shape[-1])), target


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> Supervised:
    """The entry's method."""
    return Supervised(options, segmentor, num_classes=num_classes, seed=seed)
