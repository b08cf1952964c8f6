"""Supervised training, alone and as the ground of the contrastive methods."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.losses.class_weights import resolve_class_weights
from segbench.losses.cross_entropy import cross_entropy, labelled_weight
from segbench.losses.hard_pixels import hard_cross_entropy
from segbench.losses.resize import resize_labels
from segbench.methods.base import Method, ParamGroup

from .extra import build_extra, mean_over_groups
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
        self.ce_weight, self.aux_weight = options.ce_weight, options.aux_weight
        self.loss_at, self.aux_loss_at = options.loss_at, options.aux_loss_at or options.loss_at
        self.ohem = options.ohem
        self.extra_options = options.extra_loss
        self.extra = None
        if options.extra_loss is not None:
            self.extra = build_extra(options.extra_loss, num_classes=num_classes)
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
        # Groups in which hard pixels are looked for count alike, whichever part they are in.
        mined = () if self.ohem is None else ("ce", "aux") if self.ohem.on == "all" else ("ce",)
        return {name: weight for name in ("ce", "aux") if name not in mined}

    def param_groups(self) -> list[ParamGroup]:
        """Those of every method, and one without weight decay for what the extra loss learns."""
        groups, prefix = super().param_groups(), "extra."
        own = [item for group in groups for item in group.params if item[0].startswith(prefix)]
        if not own:
            return groups
        others = [[item for item in group.params if not item[0].startswith(prefix)] for group in groups]
        kept = [replace(group, params=params) for group, params in zip(groups, others, strict=True)]
        return [*kept, ParamGroup("extra loss", own, weight_decay=0.0)]

    def segment(self, batch: Batch, step: int) -> tuple[SegmentorOutput, dict[str, Tensor]]:
        """The network's output and the supervised losses of a batch.

        Raises:
            InvalidFault: the weights of auxiliary logits are not those of the network's.
        """
        output = self.segmentor(batch.images, batch.rows)
        factors = self._aux_factors(output.aux)
        final = self._at(self.loss_at, output.logits, batch.target)
        losses = {"ce": self.ce_weight * self._cross_entropy(*final, mined=True)}
        if output.aux:
            pairs = {name: self._at(self.aux_loss_at, logits, batch.target) for name, logits in output.aux.items()}
            mined = self.ohem is not None and self.ohem.on == "all"
            terms = [factors[name] * self._cross_entropy(*pair, mined=mined) for name, pair in pairs.items()]
            losses["aux"] = torch.stack(terms).sum()
        if self.extra is not None and self.extra_options is not None:
            extra = self.extra_options
            place = extra.resolution
            pair = final if place == self.loss_at else self._at(place, output.logits, batch.target)
            size = extra.group if isinstance(extra.group, int) else len(batch.target)
            factor = extra.factor(self.progress(step))
            losses[extra.name] = factor * mean_over_groups(self.extra, *pair, size=size)
        return output, losses

    def _cross_entropy(self, logits: Tensor, target: Tensor, *, mined: bool) -> Tensor:
        """Of all labelled pixels or, if they are to be mined and the options say how, of the hard ones."""
        ohem, weights = self.ohem, self.class_weights
        if ohem is None or not mined:
            return cross_entropy(logits, target, class_weights=weights)
        size = ohem.images_per_group or len(target)
        groups = zip(logits.split(size), target.split(size), strict=True)
        terms = [
            hard_cross_entropy(
                *group,
                threshold=ohem.threshold,
                min_pixels=round(ohem.min_share * group[1].numel()),
                class_weights=weights,
            )
            for group in groups
        ]
        return torch.stack(terms).mean()

    def _aux_factors(self, aux: dict[str, Tensor]) -> dict[str, float]:
        """The factor of each of the network's auxiliary logits."""
        if not isinstance(self.aux_weight, dict):
            return dict.fromkeys(aux, self.aux_weight)
        # In evaluation a network may leave some of them out.
        strange = [name for name in self.aux_weight if name not in aux and self.training]
        faults = [f"aux_weight names {name!r}; the network's auxiliary logits: {_listed(aux)}." for name in strange]
        faults += [f"aux_weight lacks the auxiliary logits {name!r}." for name in aux if name not in self.aux_weight]
        if faults:
            right = ", ".join(f"{name}: {self.aux_weight.get(name, 0.4)}" for name in aux)
            wanted = f'"method.aux_weight={{{right}}}"' if aux else "method.aux_weight=0.4"
            raise InvalidFault(*faults, next=f"the same command with --set {wanted}")
        return self.aux_weight

    def _at(self, place: Literal["labels", "logits"], logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and labels at the resolution of the one or the other."""
        if place == "logits":
            return logits, resize_labels(target, (logits.shape[-2], logits.shape[-1]))
        return self.segmentor.resize(logits, (target.shape[-2], target.shape[-1])), target


def _listed(aux: dict[str, Tensor]) -> str:
    return ", ".join(map(repr, aux)) or "none"


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> Supervised:
    """The entry's method."""
    return Supervised(options, segmentor, num_classes=num_classes, seed=seed)
