"""Label maps at the resolution of a feature map."""

import torch
from torch import Tensor


def resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize by torch's ``nearest`` rule: output pixel i reads input pixel floor(i * in / out).

    Indices are integers, hence exact; ids such as the ignored 255 are never mixed.

    Args:
        labels: (N, H, W), any integer type.
        size: (h, w) of the result, smaller or larger.

    Returns:
        (N, h, w) of the same type.
    """
    height, width = labels.shape[-2:]
    if (height, width) == tuple(size):
        return labels
    rows = torch.arange(size[0], device=labels.device) * height // size[0]
    columns = torch.arange(size[1], device=labels.device) * width // size[1]
    return labels[:, rows[:, None], columns]
