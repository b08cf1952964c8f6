"""What the loader hands to a method."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

IGNORE_INDEX = 255


@dataclass(frozen=True)
class Batch:
    """Images and labels of one step.

    Attributes:
        images: (N, 3, H, W) float32, normalised, in the channel order of the model's input spec.
        target: (N, H, W) int64 train ids, ``IGNORE_INDEX`` where nothing is scored.
        keys: names of the images, for error messages.
    """

    images: Tensor
    target: Tensor
    keys: tuple[str, ...] = ()

    def to(self, device: torch.device | str, *, channels_last: bool = False) -> "Batch":
        """The batch on ``device``; copies from pinned memory do not block."""
        layout = torch.channels_last if channels_last else torch.preserve_format
        images = self.images.to(device, non_blocking=True, memory_format=layout)
        return replace(self, images=images, target=self.target.to(device, non_blocking=True))
