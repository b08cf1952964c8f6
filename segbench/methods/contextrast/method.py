"""Contextrast: cross-entropy plus the pixel-anchor (PA) loss of the encoder layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segbench.losses.bane import select_pixels
from segbench.losses.pixel_anchor import (
    Anchors,
    UnitVectors,
    class_means,
    draw_positives,
    finish_anchors,
    negative_masks,
    pixel_anchor_loss,
    share_anchors,
    unit_vectors,
)
from segbench.losses.resize import resize_labels
from segbench.methods.heads import ProjectionHeads
from segbench.methods.step import StepInfo
from segbench.methods.supervised.method import Supervised

from .options import Options

if TYPE_CHECKING:
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor


class Contextrast(Supervised):
    """Supervised training with the loss ``pa``, alpha * sum over layers of lambda_i L_i.

    Args and raises as in `Supervised`.
    """

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(options, segmentor, num_classes=num_classes, seed=seed)
        self.options = options
        self.heads = ProjectionHeads(segmentor.layer_channels, options.embedded_layers(), dim=options.embedding_dim)

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        batch = self.joined(batches)
        output, losses = self.segment(batch, info)
        if info.step < self.options.starts_at_step:
            return {**losses, "pa": self.heads.zero()}
        loss = contextrast_loss(
            self.heads(output.layers),
            batch.target,
            output.logits.detach().argmax(1),
            options=self.options,
            num_classes=self.num_classes,
            generator=self.generator(info, stream="contextrast"),
        )
        if self.options.detach_anchors:  # a head that serves anchors only would have no gradient
            loss = loss + self.heads.zero()
        return {**losses, "pa": self.options.alpha * loss}

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        target = self.joined(batches).target
        return {**super().loss_normalizers(batches), "pa": target.new_full((), len(target))}

    def training_pass(self, images: Tensor) -> object:
        output = self.segmentor(images)
        return output, self.heads(output.layers)


def contextrast_loss(
    embeddings: dict[int, Tensor],
    target: Tensor,
    prediction: Tensor,
    *,
    options: Options,
    num_classes: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the sum over layers of lambda_i L_i, before alpha.

    Args:
        embeddings: (N, D, h_i, w_i), not normalised, by layer number, of the layers `Options.embedded_layers`.
        target: (N, H, W) integers; those outside 0..C-1 are ignored.
        prediction: (N, h, w) integers in 0..C-1, the final prediction at any resolution.
        options: options of the method.
        num_classes: C.
        generator: source of all draws, on the device of the embeddings.
    """
    labels = {layer: resize_labels(target, _size(values)) for layer, values in embeddings.items()}
    pixels = {layer: unit_vectors(values) for layer, values in embeddings.items()}
    anchors = _anchors(pixels, labels, options=options, num_classes=num_classes)
    terms = []
    for layer, weight in sorted(options.weighted_layers().items(), reverse=True):
        predictions = resize_labels(prediction, _size(embeddings[layer]))
        selected = select_pixels(
            labels[layer],
            predictions,
            num_classes=num_classes,
            percent=options.bane_percent,
            sampler=options.sampler,
            distance=options.distance,
            percentile=options.percentile,
            generator=generator if options.ties == "random" else None,
        )
        positives = None
        if options.positives_per_class is not None:
            positives = draw_positives(
                labels[layer], options.positives_per_class, num_classes=num_classes, generator=generator
            )
        negatives = negative_masks(
            selected, labels[layer], predictions, num_classes=num_classes, role=options.negatives
        )
        loss = pixel_anchor_loss(
            pixels[layer],
            labels[layer],
            anchors[layer],
            negatives,
            temperature=options.temperature,
            positives=positives,
        )
        terms.append(weight * loss)
    return torch.stack(terms).sum()


def _anchors(
    pixels: dict[int, UnitVectors], labels: dict[int, Tensor], *, options: Options, num_classes: int
) -> dict[int, Anchors]:
    means = {layer: class_means(values, labels[layer], num_classes=num_classes) for layer, values in pixels.items()}
    anchors = {
        layer: share_anchors(own, means[options.shared_layer], weights=options.shared_weights)
        if layer in options.anchor_layers
        else own
        for layer, own in means.items()
    }
    return {
        layer: finish_anchors(values, normalise=options.normalise_anchors, detach=options.detach_anchors)
        for layer, values in anchors.items()
    }


def _size(features: Tensor) -> tuple[int, int]:
    height, width = features.shape[-2:]
    return height, width


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> Contextrast:
    """Build the method."""
    return Contextrast(options, segmentor, num_classes=num_classes, seed=seed)
