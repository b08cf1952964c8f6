"""Random colour of a batch on its device: jitter, grey images, brightness shift."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segbench.core.spec import AugmentationSpec, JitterSpec
from segbench.data.colour import per_image, to_device

from .jitter import HUES, OPERATIONS, add_brightness, grey

_NAMES = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True)
class JitterDraw:
    """Random parameters of one batch.

    Attributes:
        order: operations in the order in which they are applied, the same for the whole batch.
        factors: operation to float32 (N,), one value per image; a hue is a fraction of a full turn.
        shift: float32 (N,), added to all channels of an image in [0, 1]; None for no shift.
        style: key of ``OPERATIONS``.
        grey: bool (N,), images that become grey; None for none.
    """

    order: tuple[str, ...]
    factors: dict[str, np.ndarray]
    shift: np.ndarray | None
    style: str = "torchvision"
    grey: np.ndarray | None = None


def draw_jitter(spec: AugmentationSpec, *, count: int, begin: int, size: int, rng: np.random.Generator) -> JitterDraw:
    """Draw for a batch of ``size`` images over all devices and keep ``count`` from ``begin`` on.

    Every device draws for the whole batch, so the colours of an image do not depend on the number of devices. An image
    that is not jittered (``probability``) gets neutral factors; with ``decisions: batch`` all images are, or none.
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
    """Apply the drawn operations.

    Args:
        images: (N, 3, H, W) float RGB in [0, 1].
        draw: for N images.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    for name in draw.order:
        images = OPERATIONS[draw.style][name](images, per_image(draw.factors[name], images))
    if draw.grey is not None:
        chosen = to_device(torch.from_numpy(np.ascontiguousarray(draw.grey)), images.device).view(-1, 1, 1, 1)
        images = torch.where(chosen, grey(images), images)
    if draw.shift is not None:
        images = add_brightness(images, per_image(draw.shift, images))
    return images


def _jitter(jitter: JitterSpec, size: int, together: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return factors in the order of their use, the same for the whole batch; none if no image is jittered."""
    order = [_NAMES[place] for place in rng.permutation(len(_NAMES))]
    applied = _coins(jitter.chances()[0], size, together, rng)
    ranges, drawn = jitter.ranges(), {}
    for name in _NAMES:
        if name in ranges:
            added = name == "hue" or (name == "brightness" and jitter.style == "kornia041")
            drawn[name] = np.where(applied, rng.uniform(*ranges[name], size), 0.0 if added else 1.0)
    return {name: drawn[name] for name in order if name in drawn} if applied.any() else {}


def _distortion(jitter: JitterSpec, size: int, together: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return factors of PhotoMetricDistortion: one coin per operation, one for contrast before or after the others.

    NaN where an operation is not applied. Hues turn by whole steps of 1/180; the upper bound is never drawn.
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
    """Return bool (size,): one draw per image, or the same draw for all."""
    return np.repeat(rng.random() < probability, size) if together else rng.random(size) < probability
