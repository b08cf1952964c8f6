"""Colour of a batch on its device: jitter, brightness shift, channel order, normalisation."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segbench.core.spec import AugmentationSpec, InputSpec, JitterSpec

from .augmentation.jitter import HUES, OPERATIONS, add_brightness, grey

_NAMES = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True)
class JitterDraw:
    """What the dice said for one batch.

    Attributes:
        order: operations in the order in which they are applied, one order for the whole batch.
        factors: operation to float32 (N,): one value an image; a hue is a share of a full turn.
        shift: float32 (N,), added to all channels of an image in [0, 1]; None for no shift.
        style: whose operations they are.
        grey: bool (N,), which images become grey; None for none.
    """

    order: tuple[str, ...]
    factors: dict[str, np.ndarray]
    shift: np.ndarray | None
    style: str = "torchvision"
    grey: np.ndarray | None = None


def draw_jitter(spec: AugmentationSpec, *, count: int, begin: int, size: int, rng: np.random.Generator) -> JitterDraw:
    """Draw for a batch of ``size`` images over all devices and keep ``count`` from ``begin`` on.

    Every device draws for the whole batch, so an image gets the same colours however many devices there are. An image
    that is left alone (``probability``) gets the neutral factors; with ``decisions: batch`` all images are, or none.
    """
    order: tuple[str, ...] = ()
    factors: dict[str, np.ndarray] = {}
    mine = slice(begin, begin + count)
    jitter = spec.jitter
    greyed = None
    if jitter is not None:
        together = spec.decisions == "batch"
        draw = _distortion if jitter.style == "mmseg" else _jitter
        drawn = draw(jitter, size, together, rng)
        order = tuple(drawn)
        factors = {name: values.astype(np.float32)[mine] for name, values in drawn.items()}
        if jitter.chances()[1]:
            greyed = _coins(jitter.chances()[1], size, together, rng)[mine]
    shift = None
    if spec.brightness_shift:
        levels = rng.integers(-spec.brightness_shift, spec.brightness_shift, size, endpoint=True)
        shift = (levels / 255).astype(np.float32)[mine]
    return JitterDraw(order, factors, shift, jitter.style if jitter else "torchvision", greyed)


def apply_jitter(images: Tensor, draw: JitterDraw) -> Tensor:
    """Apply what was drawn.

    Args:
        images: (N, 3, H, W) float RGB in [0, 1].
        draw: for N images.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    for name in draw.order:
        images = OPERATIONS[draw.style][name](images, per_image(draw.factors[name], images))
    if draw.grey is not None:
        chosen = beside(torch.from_numpy(np.ascontiguousarray(draw.grey)), images.device).view(-1, 1, 1, 1)
        images = torch.where(chosen, grey(images), images)
    if draw.shift is not None:
        images = add_brightness(images, per_image(draw.shift, images))
    return images


def normalise(images: Tensor, spec: InputSpec) -> Tensor:
    """RGB images in [0, 1] to what the network is fed: channel order, then ``(x - mean) / std`` per fed channel.

    ``mean`` and ``std`` are given in the order of ``spec.channels``.
    """
    if spec.channels == "bgr":
        images = images.flip(1)
    return (images - _per_channel(spec.mean, images)) / _per_channel(spec.std, images)


def denormalise(images: Tensor, spec: InputSpec) -> Tensor:
    """What the network is fed back to RGB images in [0, 1]: the inverse of ``normalise`` but for rounding."""
    images = (images * _per_channel(spec.std, images) + _per_channel(spec.mean, images)).clamp(0, 1)
    return images.flip(1) if spec.channels == "bgr" else images


def per_image(values: np.ndarray, images: Tensor) -> Tensor:
    """One number an image, (N, 1, 1, 1), where the images are."""
    return beside(torch.from_numpy(np.ascontiguousarray(values)).to(images.dtype), images.device).view(-1, 1, 1, 1)


def beside(values: Tensor, device: torch.device) -> Tensor:
    """``values`` on the device, without the host waiting for the copy."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def _jitter(jitter: JitterSpec, size: int, together: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Factors in the order of their use, one order for the batch; none if no image is jittered."""
    order = [_NAMES[place] for place in rng.permutation(len(_NAMES))]
    applied = _coins(jitter.chances()[0], size, together, rng)
    ranges, drawn = jitter.ranges(), {}
    for name in _NAMES:
        if name in ranges:
            added = name == "hue" or (name == "brightness" and jitter.style == "kornia041")
            drawn[name] = np.where(applied, rng.uniform(*ranges[name], size), 0.0 if added else 1.0)
    return {name: drawn[name] for name in order if name in drawn} if applied.any() else {}


def _distortion(jitter: JitterSpec, size: int, together: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Factors of PhotoMetricDistortion: a coin for each operation, and one for whether contrast comes first or last.

    Not a number where an operation is left out. Hues are turned by whole steps of 1/180, the highest never drawn.
    """
    drawn = {}
    for name, (low, high) in jitter.ranges().items():
        applied = _coins(jitter.chances()[0], size, together, rng)
        if name == "hue":
            first, end = round(HUES * low), round(HUES * high)
            values = rng.integers(first, max(end, first + 1), size) / HUES
        else:
            values = rng.uniform(low, high, size)
        drawn[name] = np.where(applied, values, np.nan)
    contrast, early = drawn.pop("contrast"), _coins(0.5, size, together, rng)
    drawn["contrast first"] = np.where(early, contrast, np.nan)
    drawn["contrast last"] = np.where(early, np.nan, contrast)
    return {name: drawn[name] for name in OPERATIONS["mmseg"] if not np.isnan(drawn[name]).all()}


def _coins(probability: float, size: int, together: bool, rng: np.random.Generator) -> np.ndarray:
    """bool (size,): each image's own decision, or all the same."""
    return np.repeat(rng.random() < probability, size) if together else rng.random(size) < probability


def _per_channel(values: tuple[float, float, float], images: Tensor) -> Tensor:
    return beside(torch.tensor(values, dtype=images.dtype), images.device).view(1, 3, 1, 1)
