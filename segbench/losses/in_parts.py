"""Losses of many rows, taken part by part with their gradients, so that what lies between need not be kept.

It suits a loss whose every value depends on its own row alone: then all that a backward pass needs of it is, row by
row, the gradient of that value, which is as small as the rows are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .pixel_contrast import AnchorLosses

# Hooks that count or move what a forward pass keeps have nothing to do with what a part keeps for a moment.
_OF_A_MOMENT = partial(torch.autograd.graph.saved_tensors_hooks, Tensor.detach, lambda tensor: tensor)

LossOfPart = Callable[[Tensor, slice], AnchorLosses]


def in_parts(loss: LossOfPart, rows: Tensor, *, size: int) -> AnchorLosses:
    """Losses of all rows; gradients are taken at once, while a part's similarities are still at hand.

    Args:
        loss: of ``rows[part]`` and ``part``; each value depends on no row but its own.
        rows: (S, ..., D), the only tensor that gets a gradient, and that of the first order.
        size: rows of a part.

    Returns:
        Values and whether they count, each (S, ...).
    """
    wanted = rows.requires_grad and torch.is_grad_enabled()
    return AnchorLosses(*_InParts.apply(rows, loss, size, wanted))


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, loss: LossOfPart, size: int, wanted: bool) -> tuple[Tensor, Tensor]:
        values, counted = [], []
        slopes: list[Tensor] = []
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            own = rows[part].detach().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted), _OF_A_MOMENT():
                found = loss(own, part)
                slopes += torch.autograd.grad(found.values.sum(), own) if wanted else ()
            values.append(found.values.detach())
            counted.append(found.counted)
        if wanted:
            ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(values), torch.cat(counted)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return grad[..., None] * slopes, None, None, None
