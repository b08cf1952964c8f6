"""Contrastive pre-training of Zhao et al. (ICCV 2021, arXiv 2012.06985)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.core.spec import AugmentationSpec, InputSpec, JitterSpec, Size
from segbench.data.augmentation.batchwise import BatchAugmenter
from segbench.losses.label_contrast import label_contrast
from segbench.losses.precision import at_least_float32
from segbench.methods.base import Method
from segbench.methods.streams import join, require_streams

from .options import Options

if TYPE_CHECKING:
    from segbench.core.spec import StreamSpec
    from segbench.data.batch import Batch
    from segbench.methods.step import StepInfo
    from segbench.models.segmentor import Segmentor


class LabelContrast(Method):
    """The loss ``contrast`` between the images and a copy of them in other colours, by their labels.

    Both views pass through the network together. The head reads the embedding, the input of the classifier; head and
    classifier take no part in what comes after: the classifier keeps its initial weights.

    Args:
        options: options of the method.
        segmentor: network to train.
        num_classes: C.
        seed: seed of all draws.
    """

    wants_logits = False

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(segmentor, seed=seed)
        self.options, self.num_classes = options, num_classes
        dim = options.embedding_dim
        layers: list[nn.Module] = []
        for number in range(options.projection_layers):
            layers.append(nn.Conv2d(dim if number else segmentor.embedding_channels, dim, 1))
            if number < options.projection_layers - 1:
                layers += [nn.BatchNorm2d(dim)] if options.projection_norm == "batch" else []
                layers.append(nn.ReLU())
        self.head = nn.Sequential(*layers)
        self._input = InputSpec()
        self._colours = AugmentationSpec(jitter=JitterSpec(style="simclr", strength=options.distortion_strength))

    def see_data(self, streams: Mapping[str, StreamSpec], *, input: InputSpec, images: Mapping[str, int]) -> None:
        require_streams(self.options.streams, streams)
        self._input = input

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        options, batch = self.options, join(batches, self.options.streams)
        number = len(batch.images)
        rows = None if batch.rows is None else torch.cat([batch.rows, batch.rows])
        views = torch.cat([batch.images, self._distorted(batch.images, info)])
        embedding = at_least_float32(self.segmentor(views, rows).embedding)
        resized = F.interpolate(embedding, size=options.resize_size, mode="bilinear", align_corners=True)
        features = F.normalize(at_least_float32(self.head(resized)), dim=1).flatten(2).transpose(1, 2)
        labels = resize_to_grid(batch.target, options.resize_size).flatten(1)
        loss = label_contrast(
            features[:number],
            features[number:],
            labels,
            num_classes=self.num_classes,
            form=options.form,
            partners=self._partners(number, info) if options.loss == "cross" else None,
            temperature=options.temperature,
        )
        return {"contrast": loss}

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        target = join(batches, self.options.streams).target
        return {"contrast": target.new_full((), len(target))}

    def training_pass(self, images: Tensor) -> object:
        embedding = self.segmentor(images).embedding
        return self.head(F.interpolate(embedding, size=self.options.resize_size, mode="bilinear", align_corners=True))

    def _distorted(self, images: Tensor, info: StepInfo) -> Tensor:
        """Return normalised images in other colours; an image's draws depend on its place in the whole batch."""
        begin = len(images) * info.micro_batch
        augmenter = BatchAugmenter(
            self._colours,
            batch_total=len(images) * info.micro_batches,
            seed=self.seed,
            stream="distortion",
            positions=range(begin, begin + len(images)),
        )
        labels = torch.zeros(len(images), 1, 1, dtype=torch.int64, device=images.device)
        return augmenter.of_normalised(images, labels, self._input, step=info.step).images

    def _partners(self, number: int, info: StepInfo) -> Tensor:
        """Draw the other image of each: another one in the paper's form, any one in the released form."""
        device = next(self.parameters()).device
        generator = self.generator(info, stream="partners")
        if self.options.form == "released":
            return torch.rand(number, generator=generator, device=device).argsort()
        steps = 1 + (torch.rand(number, generator=generator, device=device) * max(1, number - 1)).long()
        return (torch.arange(number, device=device) + steps.clamp(max=max(1, number - 1))) % number


def resize_to_grid(labels: Tensor, size: Size) -> Tensor:
    """Resize label maps (N, H, W) to (N, h, w), pixel i from round(i (H - 1) / (h - 1)): corners stay corners."""
    places = []
    for old, new in zip(labels.shape[-2:], size, strict=True):
        steps = torch.arange(new, device=labels.device)
        places.append((2 * steps * (old - 1) + max(1, new - 1)) // (2 * max(1, new - 1)))
    return labels[:, places[0][:, None], places[1]]


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> LabelContrast:
    """Build the method."""
    return LabelContrast(options, segmentor, num_classes=num_classes, seed=seed)
