"""Supervised training, also the base of the contrastive methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.micro_batch import group_sizes
from segbench.core.spec import Size
from segbench.losses.class_weights import resolve_class_weights
from segbench.losses.cross_entropy import cross_entropy, labelled_weight
from segbench.losses.hard_pixels import hard_cross_entropy
from segbench.losses.resize import resize_labels
from segbench.methods.base import Method, ParamGroup
from segbench.methods.step import StepInfo
from segbench.methods.streams import join, require_streams

from .extra import build_extra, mean_over_groups
from .options import Options

if TYPE_CHECKING:
    from segbench.core.spec import InputSpec, StreamSpec
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor, SegmentorOutput


class Supervised(Method):
    """Cross-entropy ``ce``, a weighted sum ``aux`` over auxiliary logits where the network has any, and an extra loss.

    Args:
        options: options of the method.
        segmentor: network to train.
        num_classes: C.
        seed: seed of all draws.

    Raises:
        InvalidFault: the number of class weights is not C.
    """

    class_weights: Tensor | None

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(segmentor, seed=seed)
        self.num_classes, self.streams = num_classes, options.streams
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
        # Not saved in checkpoints: it follows from the options.
        self.register_buffer("class_weights", buffer, persistent=False)
        self._loss_sizes: dict[str, Size] = {}  # (h, w) of the labels that each cross-entropy was last taken on

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        return self.segment(self.joined(batches), info)[1]

    def see_data(self, streams: Mapping[str, StreamSpec], *, input: InputSpec, images: Mapping[str, int]) -> None:
        require_streams(self.streams, streams)

    def joined(self, batches: Mapping[str, Batch]) -> Batch:
        """Return the batch of all streams that the options name."""
        return join(batches, self.streams)

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        target, ohem, extra = self.joined(batches).target, self.ohem, self.extra_options
        groups: dict[str, int | None] = {}  # images of a group, of losses that are means over groups
        if ohem is not None:
            groups |= dict.fromkeys(("ce", "aux") if ohem.on == "all" else ("ce",), ohem.images_per_group)
        if extra is not None and extra.group is not None:
            groups[extra.name] = extra.group if isinstance(extra.group, int) else None
        found = {name: target.new_full((), len(group_sizes(len(target), size))) for name, size in groups.items()}
        for name, size in self._loss_sizes.items():
            if name not in groups:
                weights = self.class_weights if name in ("ce", "aux") else None
                found[name] = labelled_weight(resize_labels(target, size), class_weights=weights)
        return found

    def param_groups(self) -> list[ParamGroup]:
        """Return the groups of every method and one without weight decay for the parameters of the extra loss."""
        groups, prefix = super().param_groups(), "extra."
        own = [item for group in groups for item in group.params if item[0].startswith(prefix)]
        if not own:
            return groups
        others = [[item for item in group.params if not item[0].startswith(prefix)] for group in groups]
        kept = [replace(group, params=params) for group, params in zip(groups, others, strict=True)]
        return [*kept, ParamGroup("extra loss", own, weight_decay=0.0)]

    def segment(self, batch: Batch, info: StepInfo) -> tuple[SegmentorOutput, dict[str, Tensor]]:
        """Return the network's output and the supervised losses of a batch.

        Raises:
            InvalidFault: the weights name other auxiliary logits than the network has.
        """
        output = self.segmentor(batch.images, batch.rows)
        factors = self._aux_factors(output.aux)
        final = self._at(self.loss_at, output.logits, batch.target)
        losses = {"ce": self.ce_weight * self._cross_entropy(*final, mined=True)}
        self._loss_sizes = {"ce": _size(final[1])}
        if output.aux:
            pairs = {name: self._at(self.aux_loss_at, logits, batch.target) for name, logits in output.aux.items()}
            mined = self.ohem is not None and self.ohem.on == "all"
            terms = [factors[name] * self._cross_entropy(*pair, mined=mined) for name, pair in pairs.items()]
            losses["aux"] = torch.stack(terms).sum()
            self._loss_sizes["aux"] = max(_size(target) for _, target in pairs.values())
        if self.extra is not None and self.extra_options is not None:
            extra = self.extra_options
            pair = (
                final if extra.resolution == self.loss_at else self._at(extra.resolution, output.logits, batch.target)
            )
            size = extra.group if isinstance(extra.group, int) else len(batch.target)
            losses[extra.name] = extra.factor(info.progress) * mean_over_groups(self.extra, *pair, size=size)
            self._loss_sizes[extra.name] = _size(pair[1])
        return output, losses

    def _cross_entropy(self, logits: Tensor, target: Tensor, *, mined: bool) -> Tensor:
        """Return the cross-entropy over all labelled pixels, or over the hard ones if ``mined`` and the options ask."""
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
        """Return the factor of each of the network's auxiliary logits."""
        if not isinstance(self.aux_weight, dict):
            return dict.fromkeys(aux, self.aux_weight)
        # A network may omit some of them in evaluation.
        strange = [name for name in self.aux_weight if name not in aux and self.training]
        faults = [f"aux_weight names {name!r}; the network's auxiliary logits: {_listed(aux)}." for name in strange]
        faults += [f"aux_weight lacks the auxiliary logits {name!r}." for name in aux if name not in self.aux_weight]
        if faults:
            right = ", ".join(f"{name}: {self.aux_weight.get(name, 0.4)}" for name in aux)
            wanted = f'"method.aux_weight={{{right}}}"' if aux else "method.aux_weight=0.4"
            raise InvalidFault(*faults, next=f"the same command with --set {wanted}")
        return self.aux_weight

    def _at(self, place: Literal["labels", "logits"], logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and labels at the resolution of either."""
        if place == "logits":
            return logits, resize_labels(target, _size(logits))
        return self.segmentor.resize(logits, _size(target)), target


def _size(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def _listed(aux: dict[str, Tensor]) -> str:
    return ", ".join(map(repr, aux)) or "none"


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> Supervised:
    """Build the method."""
    return Supervised(options, segmentor, num_classes=num_classes, seed=seed)
