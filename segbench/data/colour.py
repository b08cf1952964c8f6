"""Colour of a batch on its device: jitter, brightness shift, channel order, normalisation."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segbench.core.spec import AugmentationSpec, InputSpec, JitterSpec

_OPERATIONS = ("brightness", "contrast", "saturation", "hue")
_LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601 to four digits, the weights that torchvision uses


@dataclass(frozen=True)
class JitterDraw:
    """What the dice said for one batch.

    Attributes:
        order: operations in the order in which they are applied, one order for the whole batch.
        factors: operation to float32 (N,): one value an image; a hue is a share of a full turn.
        shift: float32 (N,), added to all channels of an image in [0, 1]; None for no shift.
    """

    order: tuple[str, ...]
    factors: dict[str, np.ndarray]
    shift: np.ndarray | None


def draw_jitter(spec: AugmentationSpec, *, count: int, begin: int, size: int, rng: np.random.Generator) -> JitterDraw:
    """Draw for a batch of ``size`` images over all devices and keep ``count`` from ``begin`` on.

    Every device draws for the whole batch, so an image gets the same colours however many devices there are.
    An image that is left alone (``probability``) gets the neutral factors.
    """
    order: tuple[str, ...] = ()
    factors: dict[str, np.ndarray] = {}
    mine = slice(begin, begin + count)
    jitter = spec.jitter
    if jitter is not None:
        order = tuple(_OPERATIONS[place] for place in rng.permutation(len(_OPERATIONS)))
        applied = rng.random(size) < jitter.probability
        for name in _OPERATIONS:
            bounds = _bounds(jitter, name)
            drawn = rng.uniform(*bounds, size) if bounds else np.zeros(size)
            neutral = 0.0 if name == "hue" else 1.0
            if bounds:
                factors[name] = np.where(applied, drawn, neutral).astype(np.float32)[mine]
        order = tuple(name for name in order if name in factors)
    shift = None
    if spec.brightness_shift:
        levels = rng.integers(-spec.brightness_shift, spec.brightness_shift, size, endpoint=True)
        shift = (levels / 255).astype(np.float32)[mine]
    return JitterDraw(order, factors, shift)


def apply_jitter(images: Tensor, draw: JitterDraw) -> Tensor:
    """Apply what was drawn.

    Args:
        images: (N, 3, H, W) float RGB in [0, 1].
        draw: for N images.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    for name in draw.order:
        images = _APPLY[name](images, _per_image(draw.factors[name], images))
    if draw.shift is not None:
        images = (images + _per_image(draw.shift, images)).clamp(0, 1)
    return images


def normalise(images: Tensor, spec: InputSpec) -> Tensor:
    """RGB images in [0, 1] to what the network is fed: channel order, then ``(x - mean) / std`` per fed channel.

    ``mean`` and ``std`` are given in the order of ``spec.channels``.
    """
    if spec.channels == "bgr":
        images = images.flip(1)
    return (images - _per_channel(spec.mean, images)) / _per_channel(spec.std, images)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """``f * x``. Images (N, 3, H, W) in [0, 1], factor (N, 1, 1, 1); the same in all of these."""
    return (images * factor).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """``f * x + (1 - f) * m`` with ``m`` the mean luma of the image."""
    mean = _luma(images).mean(dim=(2, 3), keepdim=True)
    return (images * factor + (1 - factor) * mean).clamp(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """``f * x + (1 - f) * luma(x)``."""
    return (images * factor + (1 - factor) * _luma(images)).clamp(0, 1)


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of the HSV colour by a share of a full turn; value and saturation stay.

    With ``v = max``, chroma ``c = max - min`` and hue ``h`` in sixths of a turn, channel k of (r, g, b) is
    ``v - c * clamp(min(t, 4 - t), 0, 1)``, ``t = (n_k + h) mod 6``, ``n = (5, 3, 1)`` (HSV to RGB, alternative form).
    """
    value, _ = images.max(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    red, green, blue = images.unbind(1)
    red, green, blue = red.unsqueeze(1), green.unsqueeze(1), blue.unsqueeze(1)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    of_blue = (red - green) / safe + 4
    of_green = (blue - red) / safe + 2
    of_red = (green - blue) / safe
    hue = torch.where(value == red, of_red, torch.where(value == green, of_green, of_blue))
    hue = hue + 6 * turn
    place = torch.remainder(_per_channel((5.0, 3.0, 1.0), images) + hue, 6)
    return (value - chroma * torch.minimum(place, 4 - place).clamp(0, 1)).clamp(0, 1)


_APPLY = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}


def _luma(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).unsqueeze(1)


def _per_image(values: np.ndarray, images: Tensor) -> Tensor:
    return _beside(torch.from_numpy(np.ascontiguousarray(values)), images).view(-1, 1, 1, 1)


def _per_channel(values: tuple[float, float, float], images: Tensor) -> Tensor:
    return _beside(torch.tensor(values, dtype=torch.float64), images).view(1, 3, 1, 1)


def _beside(values: Tensor, images: Tensor) -> Tensor:
    """``values`` where the images are, without the host waiting for the copy."""
    if images.is_cuda:
        values = values.pin_memory()
    return values.to(images.device, images.dtype, non_blocking=True)


def _bounds(jitter: JitterSpec, name: str) -> tuple[float, float] | None:
    bounds: tuple[float, float] | None = getattr(jitter, name)
    return bounds
