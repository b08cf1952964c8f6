"""Pissas et al.: cross-entropy plus contrastive losses within and across the scales of an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segbench.core.micro_batch import group_sizes
from segbench.losses.multi_cross_scale import Samples, draw_samples, scale_contrast
from segbench.losses.resize import resize_labels
from segbench.methods.heads import ProjectionHeads
from segbench.methods.step import StepInfo
from segbench.methods.supervised.method import Supervised

from .options import Options

if TYPE_CHECKING:
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor


class MultiCrossScale(Supervised):
    """Supervised training with the losses ``cms`` (within scales) and ``ccs`` (across scales), of groups of images.

    Args and raises as in `Supervised`.
    """

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(options, segmentor, num_classes=num_classes, seed=seed)
        self.options = options
        self.heads = ProjectionHeads(segmentor.layer_channels, options.embedded_layers(), dim=options.embedding_dim)

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        options, batch = self.options, self.joined(batches)
        output, losses = self.segment(batch, info)
        embeddings = self.heads(output.layers)
        found, first = [], 0
        for number, images in enumerate(group_sizes(len(batch.target), options.images_per_group)):
            group = slice(first, first + images)
            maps = {layer: values[group] for layer, values in embeddings.items()}
            found.append(self._contrast(self._samples(maps, batch.target[group], info, group=number)))
            first += images
        within, cross = (torch.stack(each).mean() for each in zip(*found, strict=True))
        return {**losses, "cms": options.alpha * within, "ccs": options.alpha * cross}

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        target = self.joined(batches).target
        size = self.options.images_per_group
        count = target.new_full((), len(target) if size is None else len(group_sizes(len(target), size)))
        return {**super().loss_normalizers(batches), "cms": count, "ccs": count}

    def training_pass(self, images: Tensor) -> object:
        output = self.segmentor(images)
        return output, self.heads(output.layers)

    def _contrast(self, samples: dict[int, Samples]) -> tuple[Tensor, Tensor]:
        """Return the losses within scales and across them."""
        options = self.options
        within = cross = self.heads.zero()
        for layer, weight in options.layer_weights.items():
            loss = scale_contrast(samples[layer], samples[layer], temperature=options.temperature, within=True)
            within = within + weight * loss
        for fine, coarse in options.cross_pairs:
            others = samples[coarse]
            if options.detach_coarse:
                others = others._replace(features=others.features.detach())
            loss = scale_contrast(samples[fine], others, temperature=options.temperature, within=False)
            cross = cross + options.cross_weight * loss
        return within, cross

    def _samples(
        self, embeddings: dict[int, Tensor], target: Tensor, info: StepInfo, *, group: int
    ) -> dict[int, Samples]:
        """Draw samples of a group of images once per scale; the losses within and across scales share them."""
        options = self.options
        generator = self.generator(info, group=group, stream="mscs")
        drawn = {}
        for layer, values in sorted(embeddings.items()):
            height, width = values.shape[-2:]
            drawn[layer] = draw_samples(
                values,
                resize_labels(target, (height, width)),
                num_classes=self.num_classes,
                per_pair=options.samples_per_pair,
                per_scale=options.samples_per_scale,
                min_pixels=options.min_pixels,
                generator=generator,
            )
        return drawn


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> MultiCrossScale:
    """Build the method."""
    return MultiCrossScale(options, segmentor, num_classes=num_classes, seed=seed)
