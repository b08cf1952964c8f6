"""Augmentation of a batch on its device: ClassMix, scale, flip, colour and blur, without synchronization.

``DeviceTransform`` applies it to streams with labels; a method applies it to images whose labels it makes itself:

    strong = augmenter.of_normalised(batch.images, pseudo_labels, input, step=step, view=1, confidence=confidence)
    logits = self.segmentor(strong.images).logits
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segbench.core.spec import AugmentationSpec, InputSpec, Size
from segbench.data.classes import IGNORE
from segbench.data.colour import denormalise, normalise, to_device
from segbench.data.rng import Purpose, keyed_rng, name_key

from .augment import draw_scale
from .blur import BlurDraw, draw_blur, gaussian_blur
from .classmix import classmix
from .colour_jitter import JitterDraw, apply_jitter, draw_jitter

_LABELS = 256


class Augmented(NamedTuple):
    """Images (N, 3, H, W) RGB in [0, 1], labels (N, H, W), and confidence (N, H, W) if it was given."""

    images: Tensor
    labels: Tensor
    confidence: Tensor | None


@dataclass(frozen=True)
class Mix:
    """ClassMix of one batch: keys (M, 256) and which images receive pixels, (M,) bool; see ``classmix``."""

    keys: np.ndarray
    applied: np.ndarray
    skip: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Scale and flip of one batch: the scaled size, and the corner of the crop if that is larger."""

    size: Size
    corner: tuple[int, int]
    flip: bool


@dataclass(frozen=True)
class BatchDraw:
    """Random parameters of one batch; None for what is not applied."""

    mix: Mix | None
    place: Place | None
    jitter: JitterDraw
    blur: BlurDraw | None


class BatchAugmenter:
    """Augmentation of a stream's batches, drawn from (seed, stream, step, view) alone.

    Args:
        spec: of the stream.
        batch_total: images of a batch over all devices.
        seed: of the training.
        stream: name of the stream; streams draw independently.
        positions: this process's images of the batch; None for all.
        fill: colour of padding, RGB in [0, 1]; see ``augment.padding_colour``.
    """

    def __init__(
        self,
        spec: AugmentationSpec,
        *,
        batch_total: int,
        seed: int,
        stream: str,
        positions: range | None = None,
        fill: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        self._spec, self._total, self._fill = spec, batch_total, fill
        self._positions = range(batch_total) if positions is None else positions
        self._seed, self._stream = seed, name_key(stream)

    @property
    def positions(self) -> range:
        """This process's images of the batch."""
        return self._positions

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        step: int,
        view: int = 0,
        confidence: Tensor | None = None,
        mix: bool = True,
    ) -> Augmented:
        """Return an augmented view of a batch.

        Args:
            images: (N, 3, H, W) RGB in [0, 1]. With ClassMix on several processes, the image that follows this
                process's share of the batch (cyclically) may be given too: its pixels are pasted and it is left out of
                the result. Without it the first image of the share takes its place.
            labels: (N, H, W) labels or pseudo-labels, 255 for none.
            step: number of the batch.
            view: number of an independent draw for the same batch.
            confidence: (N, H, W); moved, mixed and scaled with the images, 0 in the padding.
            mix: False skips ClassMix whatever the spec says; the other draws stay the same.
        """
        draw = self.draw((images.shape[2], images.shape[3]), step=step, view=view)
        if not mix:
            draw = BatchDraw(None, draw.place, draw.jitter, draw.blur)
        return augment_batch(images, labels, draw, count=len(self._positions), confidence=confidence, fill=self._fill)

    def of_normalised(
        self,
        images: Tensor,
        labels: Tensor,
        input: InputSpec,
        *,
        step: int,
        view: int = 0,
        confidence: Tensor | None = None,
        mix: bool = True,
    ) -> Augmented:
        """Return the same of images that are normalised as ``input`` says; these are normalised again, in the same
        memory format.
        """
        made = self(denormalise(images, input), labels, step=step, view=view, confidence=confidence, mix=mix)
        channels_last = images.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return made._replace(images=normalise(made.images, input).contiguous(memory_format=layout))

    def draw(self, size: Size, *, step: int, view: int = 0) -> BatchDraw:
        """Draw the random parameters of one batch of images of this size."""
        # View 0 adds nothing to the key, so that it draws the same as a stream without views.
        key = (self._seed, self._stream, step, *((view,) if view else ()))
        spec, mine, total = self._spec, self._positions, self._total
        together = spec.decisions == "batch"
        jitter = draw_jitter(spec, count=len(mine), begin=mine.start, size=total, rng=keyed_rng(Purpose.COLOUR, *key))
        blur = None
        if spec.blur is not None:
            rng = keyed_rng(Purpose.BLUR, *key)
            blur = draw_blur(spec.blur, positions=mine, size=total, together=together, rng=rng)
        place = _draw_place(spec, size, keyed_rng(Purpose.PLACE, *key)) if together else None
        return BatchDraw(self._draw_mix(together, keyed_rng(Purpose.MIX, *key)), place, jitter, blur)

    def _draw_mix(self, together: bool, rng: np.random.Generator) -> Mix | None:
        if not self._spec.classmix:
            return None
        applied = np.broadcast_to(rng.random(1 if together else self._total) < self._spec.classmix, self._total)
        if not applied.any():
            return None
        keys = rng.random((self._total, _LABELS), dtype=np.float32)
        # The image after this process's share is pasted from.
        around = [place % self._total for place in range(self._positions.start, self._positions.stop + 1)]
        return Mix(keys[around], applied[around], self._spec.classmix_skips)


def augment_batch(
    images: Tensor,
    labels: Tensor,
    draw: BatchDraw,
    *,
    count: int | None = None,
    confidence: Tensor | None = None,
    fill: Sequence[float] = (0.0, 0.0, 0.0),
) -> Augmented:
    """Apply the drawn ClassMix, scale with crop or padding, flip, colour and blur, without gradient and autocast.

    Args:
        images: (M, 3, H, W) float RGB in [0, 1].
        labels: (M, H, W) integers, 255 for none.
        draw: for the first ``count`` images.
        count: number of images to return; those after them are only pasted from. None for all.
        confidence: (M, H, W) float.
        fill: colour of padding, RGB in [0, 1].

    Returns:
        ``count`` images of the same size, their labels and confidence.
    """
    with torch.no_grad(), _without_autocast(images.device):
        if draw.mix is not None:
            number = images.shape[0]
            keys, applied = (
                to_device(torch.from_numpy(np.ascontiguousarray(array[:number])), images.device)
                for array in (draw.mix.keys, draw.mix.applied)
            )
            images, labels, confidence = classmix(
                images, labels, keys=keys, applied=applied, skip=draw.mix.skip, confidence=confidence
            )
        images, labels = images[:count], labels[:count]
        confidence = None if confidence is None else confidence[:count]
        if draw.place is not None:
            images, labels, confidence = _placed(images, labels, confidence, draw.place, fill)
        images = apply_jitter(images, draw.jitter)
        if draw.blur is not None:
            images = gaussian_blur(images, draw.blur)
        return Augmented(images, labels, confidence)


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _draw_place(spec: AugmentationSpec, size: Size, rng: np.random.Generator) -> Place:
    factor = draw_scale(spec, rng)
    scaled = max(1, math.floor(factor * size[0])), max(1, math.floor(factor * size[1]))
    spare = [max(0, new - old) for new, old in zip(scaled, size, strict=True)]
    corner = int(rng.integers(spare[0] + 1)), int(rng.integers(spare[1] + 1))
    return Place(scaled, corner, bool(rng.random() < spec.flip))


def _placed(
    images: Tensor, labels: Tensor, confidence: Tensor | None, place: Place, fill: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Scale, crop or pad back to the old size, and flip.

    Images and confidence are bilinear with aligned corners, labels take pixel ``floor(i * old / new)``. Padding is
    centred; an odd pixel of it is at the top and at the right.
    """
    size = images.shape[2], images.shape[3]
    if place.size != size:
        images = _fitted(_bilinear(images, place.size), size, place.corner, fill)
        labels = _fitted(_nearest(labels, place.size).unsqueeze(1), size, place.corner, (IGNORE,)).squeeze(1)
        if confidence is not None:
            scaled = _bilinear(confidence.unsqueeze(1), place.size)
            confidence = _fitted(scaled, size, place.corner, (0.0,)).squeeze(1)
    if place.flip:
        images, labels = images.flip(3), labels.flip(2)
        confidence = None if confidence is None else confidence.flip(2)
    return images, labels, confidence


def _bilinear(images: Tensor, size: Size) -> Tensor:
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=True)


def _nearest(labels: Tensor, size: Size) -> Tensor:
    rows, columns = (
        torch.arange(new, device=labels.device) * old // new for new, old in zip(size, labels.shape[1:], strict=True)
    )
    return labels[:, rows][:, :, columns]


def _fitted(pixels: Tensor, size: Size, corner: tuple[int, int], fill: Sequence[float]) -> Tensor:
    """Crop and pad (N, C, h, w) to (N, C, *size), channel c with ``fill[c]``."""
    pixels = pixels[:, :, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    missing_rows, missing_columns = size[0] - pixels.shape[2], size[1] - pixels.shape[3]
    if not missing_rows and not missing_columns:
        return pixels
    below, before = missing_rows // 2, missing_columns // 2
    padding = before, missing_columns - before, missing_rows - below, below
    channels = pixels.split(1, dim=1)
    return torch.cat([functional.pad(channel, padding, value=fill[c]) for c, channel in enumerate(channels)], dim=1)
