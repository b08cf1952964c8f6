"""Normalization of images on their device, and copies to that device that do not block."""

import numpy as np
import torch
from torch import Tensor

from segbench.core.spec import InputSpec


def normalise(images: Tensor, spec: InputSpec) -> Tensor:
    """Turn RGB images in [0, 1] into the network's input: reorder channels, then ``(x - mean) / std`` per channel.

    ``mean`` and ``std`` are given in the order of ``spec.channels``.
    """
    if spec.channels == "bgr":
        images = images.flip(1)
    return (images - _per_channel(spec.mean, images)) / _per_channel(spec.std, images)


def denormalise(images: Tensor, spec: InputSpec) -> Tensor:
    """Turn the network's input back into RGB images in [0, 1]: the inverse of ``normalise`` up to rounding."""
    images = (images * _per_channel(spec.std, images) + _per_channel(spec.mean, images)).clamp(0, 1)
    return images.flip(1) if spec.channels == "bgr" else images


def per_image(values: np.ndarray, images: Tensor) -> Tensor:
    """Return one value per image as (N, 1, 1, 1), on the device and in the dtype of the images."""
    return to_device(torch.from_numpy(np.ascontiguousarray(values)).to(images.dtype), images.device).view(-1, 1, 1, 1)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy ``values`` to the device without making the host wait."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def _per_channel(values: tuple[float, float, float], images: Tensor) -> Tensor:
    return to_device(torch.tensor(values, dtype=images.dtype), images.device).view(1, 3, 1, 1)
