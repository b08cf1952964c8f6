"""Modules whose behaviour depends on the progress of the training."""

import torch
from torch import Tensor, nn


class Scheduled(nn.Module):
    """Base of a module that depends on the progress of the training.

    Attributes:
        progress: share of the training that is done, in [0, 1]: a 0-dim tensor, set before each step
            (``tell_progress``) and therefore in no checkpoint; filled in place, so that compiled code stays valid.
    """

    progress: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("progress", torch.zeros(()), persistent=False)


def tell_progress(module: nn.Module, share: float) -> None:
    """Set the progress of every scheduled module in ``module``, without waiting for the device."""
    for each in module.modules():
        if isinstance(each, Scheduled):
            each.progress.fill_(share)
