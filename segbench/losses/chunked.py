"""Losses of many rows, taken chunk by chunk with their gradients, so that intermediate results need not be kept.

Suited to losses whose every value depends on its own row only: all that the backward pass then needs is the gradient of
each value, which is as small as its row.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .pixel_contrast import AnchorLosses

# Hooks that count or move tensors saved by a forward pass must not see those that a chunk saves for a moment.
_UNHOOKED = partial(torch.autograd.graph.saved_tensors_hooks, Tensor.detach, lambda tensor: tensor)

ChunkLoss = Callable[[Tensor, slice], AnchorLosses]


def in_chunks(loss: ChunkLoss, rows: Tensor, *, size: int) -> AnchorLosses:
    """Compute the losses of all rows and their gradients at once, chunk by chunk.

    Args:
        loss: function of ``rows[chunk]`` and the slice ``chunk``; each value depends on no row but its own.
        rows: (S, ..., D), the only tensor with a gradient, of first order.
        size: rows of a chunk.

    Returns:
        Values and whether they count, each (S, ...).
    """
    wanted = rows.requires_grad and torch.is_grad_enabled()
    return AnchorLosses(*_InChunks.apply(rows, loss, size, wanted))


class _InChunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, loss: ChunkLoss, size: int, wanted: bool) -> tuple[Tensor, Tensor]:
        values, counted = [], []
        slopes: list[Tensor] = []
        for start in range(0, len(rows), size):
            chunk = slice(start, start + size)
            own = rows[chunk].detach().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted), _UNHOOKED():
                found = loss(own, chunk)
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
