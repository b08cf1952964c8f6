"""CFN: a transformer is trained beside a frozen convolutional network (ICIP 2025, and its public code)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.losses.cross_entropy import cross_entropy, labelled_weight
from segbench.losses.fusion_contrast import column_sums, image_info_nce, place_info_nce
from segbench.losses.micro_dice import micro_dice_loss
from segbench.losses.precision import at_least_float32
from segbench.methods.base import Method

from .options import Options

if TYPE_CHECKING:
    from segbench.data.batch import Batch
    from segbench.methods.step import StepInfo
    from segbench.models.segmentor import Segmentor, SegmentorOutput

_FORMS: dict[str, Callable[..., Tensor]] = {
    "info_nce": image_info_nce,
    "column_sums": column_sums,
    "spatial": place_info_nce,
}


class FusionContrast(Method):
    """Losses ``ce``, ``dice`` and, with a teacher, ``contrast``.

    The teacher's parameters never change.

    Args:
        options: options of the method.
        segmentor: network to train, the student.
        num_classes: C.
        seed: seed of all draws.
    """

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(segmentor, seed=seed)
        self.options, self.num_classes = options, num_classes
        self.teacher: Segmentor | None = None
        self.projection: nn.Module = nn.Identity()

    def receive(self, networks: Mapping[str, Segmentor]) -> None:
        (name, teacher), *_ = networks.items()
        if teacher.num_classes != self.num_classes:
            fault = (
                f"The teacher of stage {name!r} has {teacher.num_classes} classes; the student has {self.num_classes}."
            )
            raise InvalidFault(fault, next="segbench list")
        channels, wanted = self._teacher_channels(teacher), self.segmentor.layer_channels[-1]
        if self.options.teacher_projection == "conv1x1":
            self.projection = nn.Conv2d(channels, wanted, 1)
        elif channels != wanted:
            fault = f"The teacher's features have {channels} channels, the student's {wanted}."
            raise InvalidFault(
                fault,
                "Without a projection they cannot be compared.",
                next="the same command with --set method.teacher_projection=conv1x1",
            )
        self.teacher = teacher
        self.train(self.training)

    def train(self, mode: bool = True) -> FusionContrast:
        super().train(mode)
        if self.teacher is not None and self.options.teacher_mode == "eval":
            self.teacher.eval()
        return self

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        options, batch = self.options, batches["labelled"]
        output = self.segmentor(batch.images, batch.rows)
        size = (batch.target.shape[-2], batch.target.shape[-1])
        logits = self.segmentor.resize(output.logits, size)
        probabilities = logits.softmax(1)
        losses = {
            "ce": cross_entropy(probabilities if options.double_softmax else logits, batch.target),
            "dice": options.dice_weight * micro_dice_loss(probabilities, batch.target),
        }
        if options.teacher_stage is not None:
            losses["contrast"] = self._contrast(output, batch.images)
        return losses

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        target = batches["labelled"].target
        images = target.new_full((), len(target))
        found = {"ce": labelled_weight(target), "dice": images}
        return found | ({"contrast": images} if self.options.teacher_stage is not None else {})

    def training_pass(self, images: Tensor) -> object:
        output = self.segmentor(images)
        if self.teacher is None or not self.options.contrast_weight:
            return output
        return output, self._teacher_features(images, output.layers[-1].shape[-2:])

    def _contrast(self, output: SegmentorOutput, images: Tensor) -> Tensor:
        """Return the weighted contrast; with a weight of 0 the teacher need not look at the images."""
        options, features = self.options, output.layers[-1]
        if self.teacher is None or not options.contrast_weight:
            return features.sum() * 0
        wanted = self._teacher_features(images, features.shape[-2:])
        form = _FORMS[options.form]
        return options.contrast_weight * form(features, wanted, temperature=options.temperature)

    def _teacher_features(self, images: Tensor, size: torch.Size) -> Tensor:
        """Return the teacher's features (N, D, h, w) at the student's size; a projection takes a gradient."""
        assert self.teacher is not None
        with torch.no_grad():
            output = self.teacher(images)
            if self.options.teacher_features == "concat":
                finest = output.layers[0].shape[-2:]
                maps = [self.teacher.resize(layer, (finest[0], finest[1])) for layer in output.layers]
            else:
                maps = [output.embedding if self.options.teacher_features == "head" else output.layers[-1]]
            pooled = torch.cat([F.adaptive_avg_pool2d(at_least_float32(each), (size[0], size[1])) for each in maps], 1)
        projected: Tensor = self.projection(pooled)
        return projected

    def _teacher_channels(self, teacher: Segmentor) -> int:
        return {
            "head": teacher.embedding_channels,
            "concat": sum(teacher.layer_channels),
            "coarsest": teacher.layer_channels[-1],
        }[self.options.teacher_features]


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> FusionContrast:
    """Build the method."""
    return FusionContrast(options, segmentor, num_classes=num_classes, seed=seed)
