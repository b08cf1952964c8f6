"""Images and labels of one training step."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

IGNORE_INDEX = 255


@dataclass(frozen=True)
class Batch:
    """One batch.

    Attributes:
        images: (N, 3, H, W) float32, normalised, in the channel order of the model's input spec.
        target: (N, H, W) int64 train ids, ``IGNORE_INDEX`` where nothing is scored.
        keys: names of the images, for error messages.
        rows: (N, H) float32, source row of each row divided by the number of source rows, in [0, 1); 1 in the
            padding; None if unknown.
        columns: (N, W) float32, the same for columns.
    """

    images: Tensor
    target: Tensor
    keys: tuple[str, ...] = ()
    rows: Tensor | None = None
    columns: Tensor | None = None

    def to(self, device: torch.device | str, *, channels_last: bool = False) -> "Batch":
        """Return the batch on ``device``; copies from pinned memory do not block."""
        layout = torch.channels_last if channels_last else torch.preserve_format
        images = self.images.to(device, non_blocking=True, memory_format=layout)
        target, rows, columns = (
            None if each is None else each.to(device, non_blocking=True)
            for each in (self.target, self.rows, self.columns)
        )
        assert target is not None
        return replace(self, images=images, target=target, rows=rows, columns=columns)
