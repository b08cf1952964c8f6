"""Pixel contrast: cross-entropy plus a contrastive loss of pixels, within groups of images or against a key bank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.data.batch import IGNORE_INDEX
from segbench.losses.bank_contrast import contrast_with_all, draw_candidates, semi_hard_contrast
from segbench.losses.key_bank import KeyBank, NewKeys, ReleasedBank, keys_of_images
from segbench.losses.pixel_contrast import Pixels, at_unit_length, contrast_within, draw_anchors, draw_views
from segbench.losses.resize import resize_labels
from segbench.methods.step import StepInfo
from segbench.methods.supervised.method import Supervised

from .head import Projection
from .options import Options

if TYPE_CHECKING:
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor

RELEASED_STRIDE = 8  # of the labels that the released bank takes


class PixelContrast(Supervised):
    """Supervised training with the loss ``contrast``.

    The images of a batch are contrasted in groups, each with its own draws; the loss is the mean over the groups. New
    keys are held back until the step is over, so that all groups see the same keys.

    Args and raises as in `Supervised`; also InvalidFault if a class to exclude does not exist.
    """

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(options, segmentor, num_classes=num_classes, seed=seed)
        unknown = [label for label in options.exclude_classes if label >= num_classes]
        if unknown:
            raise InvalidFault(f"exclude_classes names class {unknown[0]} of {num_classes}.")
        self.options = options
        self.head = Projection(
            segmentor.layer_channels,
            features=options.features,
            dim=options.embedding_dim,
            align_corners=segmentor.align_corners,
            init=options.head_init,
        )
        # Saved states call it so.
        self.memory = _bank(options, num_classes=num_classes) if options.keys == "memory" else None
        self._new: list[NewKeys] = []
        self._new_at = (-1, -1)  # step and micro-batch

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        options, batch = self.options, self.joined(batches)
        output, losses = self.segment(batch, info)
        contrasts = info.step >= options.starts_after_steps
        if not contrasts and self.memory is None:
            return {**losses, "contrast": self.head.zero()}
        target, fills = self._without_excluded(batch.target), self.memory is not None and self.training
        if not contrasts:
            if fills:
                with torch.no_grad():
                    self._hold_back(self.head(output.layers, output.joined).maps, target, info)
            return {**losses, "contrast": self.head.zero()}
        size = self.head.size(output.layers)
        predictions = resize_labels(output.logits.detach().argmax(1), size)
        drawn = self._draw_groups(resize_labels(target, size), predictions, info)
        # All groups at once, as the gradient is as large as the maps.
        places = torch.cat([pixels.places for pixels in drawn])
        embedded = self.head(output.layers, output.joined, places=places, maps=fills)
        if fills:
            self._hold_back(embedded.maps, target, info)
        loss = self._contrast(at_unit_length(embedded.pixels), drawn, info)
        return {**losses, "contrast": options.weight * options.temperature / options.base_temperature * loss}

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        target = self.joined(batches).target
        return {**super().loss_normalizers(batches), "contrast": target.new_full((), len(self._groups(len(target))))}

    def after_step(self, info: StepInfo) -> None:
        """Push the step's keys to the bank."""
        if self.memory is not None:
            for keys in self._new:
                self.memory.push(keys)
            self._new = []

    def training_pass(self, images: Tensor) -> object:
        """Run the network and its head on all pixels, as papers count them; training projects only those drawn."""
        output = self.segmentor(images)
        return output, self.head(output.layers, output.joined).maps

    def _draw_groups(self, labels: Tensor, predictions: Tensor, info: StepInfo) -> list[Pixels]:
        """Draw the anchors of each group; their places are those in the maps of the whole batch.

        Args:
            labels: (N, h, w), those of excluded classes ignored.
            predictions: (N, h, w) in 0..C-1.
        """
        drawn, area = [], labels[0].numel()
        for number, group in enumerate(self._groups(len(labels))):
            pixels = self._draw(labels[group], predictions[group], self.generator(info, group=number, stream="anchors"))
            drawn.append(pixels._replace(places=pixels.places + group.start * area))
        return drawn

    def _contrast(self, features: Tensor, drawn: list[Pixels], info: StepInfo) -> Tensor:
        """Return the mean loss of the groups from the unit vectors (S, D) of all their anchors."""
        options = self.options
        groups = features.split([len(pixels.places) for pixels in drawn])
        if self.memory is None:
            means = [
                contrast_within(group, pixels.labels, pixels.valid, temperature=options.temperature).mean()
                for group, pixels in zip(groups, drawn, strict=True)
            ]
        elif options.form == "paper":
            means = self._semi_hard(self.memory, groups, drawn, info)
        else:
            means = self._with_all(self.memory, groups, drawn)
        return torch.stack(means).mean()

    def _draw(self, labels: Tensor, predictions: Tensor, generator: torch.Generator) -> Pixels:
        options = self.options
        if options.form == "paper":
            return draw_anchors(
                labels,
                predictions,
                num_classes=self.num_classes,
                per_class=options.anchors_per_class,
                hard_share=options.hard_anchor_share,
                generator=generator,
            )
        return draw_views(
            labels,
            predictions,
            num_classes=self.num_classes,
            max_anchors=options.max_anchors,
            max_views=options.max_views,
            min_pixels=options.min_pixels,
            hard_share=options.hard_anchor_share,
            generator=generator,
        )

    def _semi_hard(
        self, memory: KeyBank, groups: tuple[Tensor, ...], drawn: list[Pixels], info: StepInfo
    ) -> list[Tensor]:
        options = self.options
        candidates = draw_candidates(
            memory.view(),
            memory.valid(),
            positives=options.positives_per_anchor,
            negatives=options.negatives_per_anchor,
            percent=options.semi_hard_percent,
            generator=self.generator(info, stream="candidates"),
        )
        means = []
        for features, pixels in zip(groups, drawn, strict=True):
            losses = semi_hard_contrast(
                features.view(self.num_classes, options.anchors_per_class, -1),
                pixels.valid.view(self.num_classes, -1),
                candidates,
                percent=options.semi_hard_percent,
                temperature=options.temperature,
            )
            means.append(losses.mean())
        return means

    def _with_all(self, memory: KeyBank, groups: tuple[Tensor, ...], drawn: list[Pixels]) -> list[Tensor]:
        defects = self.options.memory_defects
        first = memory.length if "zero-class" in defects else 0  # the released code lists the zero vectors last
        return [
            contrast_with_all(
                features,
                pixels.labels,
                pixels.valid,
                memory.view(),
                memory.valid(),
                temperature=self.options.temperature,
                spared=first if "self-mask" in defects else None,
            ).mean()
            for features, pixels in zip(groups, drawn, strict=True)
        ]

    def _hold_back(self, embeddings: Tensor, target: Tensor, info: StepInfo) -> None:
        """Hold the new keys of a micro-batch back until the step is over."""
        options, defects = self.options, self.options.memory_defects
        if info.step != self._new_at[0] or info.micro_batch <= self._new_at[1]:  # left by a step that was abandoned
            self._new = []
        self._new_at = (info.step, info.micro_batch)
        if "one-group" in defects and info.micro_batch > 0:
            return
        labels = _at_released_stride(target, embeddings) if "label-stride" in defects else _resized(target, embeddings)
        groups = self._groups(len(target))
        for number, group in enumerate(groups[:1] if "one-group" in defects else groups):
            keys = keys_of_images(
                embeddings[group],
                labels[group],
                num_classes=self.num_classes,
                regions=options.regions_per_image,
                pixels=options.pixels_per_image,
                from_first="first-pixels" in defects,
                generator=self.generator(info, group=number, stream="keys"),
            )
            self._new.append(keys)

    def _groups(self, images: int) -> list[slice]:
        """Split the batch into groups of consecutive images."""
        size = self.options.images_per_group or images
        return [slice(start, min(start + size, images)) for start in range(0, images, size)]

    def _without_excluded(self, target: Tensor) -> Tensor:
        for label in self.options.exclude_classes:
            target = torch.where(target == label, IGNORE_INDEX, target)
        return target


def _bank(options: Options, *, num_classes: int) -> KeyBank:
    regions, pixels, defects = options.regions_per_class, options.pixels_per_class, options.memory_defects
    if not {"noise", "zero-class", "one-step"} & set(defects):
        return KeyBank(num_classes, options.embedding_dim, regions=regions, pixels=pixels)
    return ReleasedBank(
        num_classes,
        options.embedding_dim,
        regions=regions,
        pixels=pixels,
        noise="noise" in defects,
        zero_class="zero-class" in defects,
        one_step="one-step" in defects,
    )


def _resized(target: Tensor, embeddings: Tensor) -> Tensor:
    return resize_labels(target, (embeddings.shape[-2], embeddings.shape[-1]))


def _at_released_stride(target: Tensor, embeddings: Tensor) -> Tensor:
    """Return labels at 1/8 of the image in the first places of the embedding's map; the rest is ignored."""
    height, width = embeddings.shape[-2:]
    labels = target[:, ::RELEASED_STRIDE, ::RELEASED_STRIDE].flatten(1)[:, : height * width]
    rest = labels.new_full((len(labels), height * width - labels.shape[1]), IGNORE_INDEX)
    return torch.cat([labels, rest], 1).view(-1, height, width)


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> PixelContrast:
    """Build the method."""
    return PixelContrast(options, segmentor, num_classes=num_classes, seed=seed)
