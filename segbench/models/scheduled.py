"""Parts of a network that act differently as its training goes on."""

import torch
from torch import Tensor, nn


class Scheduled(nn.Module):
    """Base of such a part.

    Attributes:
        progress: share of the training that is done, in [0, 1]: a 0-dim tensor, told anew before each step
            (``tell_progress``) and therefore in no checkpoint; filled in place, so that compiled code stays valid.
    """

    progress: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("progress", torch.zeros(()), persistent=False)


def tell_progress(module: nn.Module, share: float) -> None:
    """Tell every scheduled part of ``module`` which share of the training is done. Nothing waits for the device."""
    for part in module.modules():
        if isinstance(part, Scheduled):
            part.progress.fill_(share)
