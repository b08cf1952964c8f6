"""A registered loss beside the cross-entropy, as a module and over groups of images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.losses.options import LossOptions

from .extra_options import ExtraLoss


class FunctionLoss(nn.Module):
    """A pure loss function with its options as a module."""

    def __init__(self, function: Callable[[Tensor, Tensor, LossOptions], Tensor], options: LossOptions) -> None:
        super().__init__()
        self.function, self.options = function, options

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.function(logits, target, self.options)


def build_extra(options: ExtraLoss, *, num_classes: int) -> nn.Module:
    """Return the loss that options name, called with logits (N, C, H, W) and target (N, H, W); gives a scalar."""
    module = registry.implementation("loss", options.name)
    if hasattr(module, "build"):
        built: nn.Module = module.build(options, num_classes=num_classes)
        return built
    return FunctionLoss(registry.member("loss", options.name, "loss"), options)


def mean_over_groups(loss: nn.Module, logits: Tensor, target: Tensor, *, size: int) -> Tensor:
    """Return the mean of a loss over groups of ``size`` successive images; the last group may be smaller.

    Args:
        loss: called with the logits and target of a group.
        logits: (N, C, H, W).
        target: (N, H, W) integers; those outside 0..C-1 are ignored.
        size: images of a group.

    Raises:
        InvalidFault: the loss is not a scalar.
    """
    pairs = zip(logits.split(size), target.split(size), strict=True)
    values = torch.stack([loss(*pair) for pair in pairs])
    if values.ndim > 1:
        shape = tuple(values.shape[1:])
        raise InvalidFault(f"An extra loss must return a scalar, not a tensor of {shape}.", next="segbench list")
    return values.mean()
