"""Gaussian blur of a batch on its device, with a width per image."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segbench.core.spec import BlurSpec
from segbench.data.colour import to_device


@dataclass(frozen=True)
class BlurDraw:
    """Random parameters of one batch.

    Attributes:
        down: float32 (N, K), vertical weights, one row per image; sum 1.
        along: float32 (N, K), horizontal weights.
        border: reflect (the edge itself is not repeated) or replicate.
    """

    down: np.ndarray
    along: np.ndarray
    border: str


def draw_blur(
    spec: BlurSpec, *, positions: range, size: int, together: bool, rng: np.random.Generator
) -> BlurDraw | None:
    """Draw for a batch of ``size`` images over all devices and keep those at ``positions``.

    Args:
        spec: widths and window.
        positions: this process's images of the batch.
        size: images of the batch.
        together: blur all images or none.
        rng: generator of the batch.

    Returns:
        None if no image of the batch is blurred.
    """
    blurred = np.broadcast_to(rng.random(1 if together else size) < spec.probability, size)
    widths = np.empty((size, 2))
    if spec.sigma is not None:
        widths[:] = rng.uniform(*spec.sigma, size)[:, None]
    else:
        widths[:] = spec.axes
    if not blurred.any():
        return None
    mine = slice(positions.start, positions.stop)
    down, along = (_weights(widths[mine, axis], blurred[mine], spec.kernel) for axis in (0, 1))
    return BlurDraw(down, along, spec.border)


def gaussian_blur(images: Tensor, draw: BlurDraw) -> Tensor:
    """Blur every image with its own weights.

    Args:
        images: (N, 3, H, W) float; H and W larger than half the window.
        draw: for N images.

    Returns:
        (N, 3, H, W).
    """
    images = _pass(images, draw.down, border=draw.border, dim=2)
    return _pass(images, draw.along, border=draw.border, dim=3)


def _weights(sigma: np.ndarray, blurred: np.ndarray, kernel: int) -> np.ndarray:
    """Return ``exp(-d^2 / (2 sigma^2))`` at the distances d of the window's pixels, scaled to sum 1; (N, K)."""
    distance = np.arange(kernel) - kernel // 2
    values = np.exp(-(distance**2) / (2 * sigma[:, None] ** 2))
    alone = (distance == 0).astype(float)
    weights: np.ndarray = np.where(blurred[:, None], values / values.sum(axis=1, keepdims=True), alone)
    return weights.astype(np.float32)


def _pass(images: Tensor, weights: np.ndarray, *, border: str, dim: int) -> Tensor:
    """Convolve one direction with a kernel per image, all images at once."""
    if (weights.max(axis=1) == 1).all():
        return images  # every kernel is the identity
    count, channels, height, width = images.shape
    reach = weights.shape[1] // 2
    padding = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
    kernel = to_device(torch.from_numpy(weights).to(images.dtype), images.device)
    kernel = kernel.repeat_interleave(channels, dim=0).unsqueeze(1).unsqueeze(3 if dim == 2 else 2)
    padded = functional.pad(images, padding, mode=border)
    padded = padded.reshape(1, count * channels, *padded.shape[2:])
    return functional.conv2d(padded, kernel, groups=count * channels).view(count, channels, height, width)
