"""Batch norm evaluated at some pixels only.

The statistics are those of the whole maps, so the gradient of the maps is dense; but away from the pixels it is the
maps times a factor plus a constant, per channel (Ioffe & Szegedy 2015, arXiv 1502.03167, section 3). That takes one
pass, and neither a normalised map nor a mostly zero gradient map has to be kept.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from segbench.losses.pixel_contrast import indices_at, vectors_at


def norm_at(maps: Tensor, norm: nn.BatchNorm2d, places: Tensor) -> tuple[Tensor, Tensor]:
    """Apply batch norm to maps; in training its running statistics are updated once.

    Args:
        maps: (N, K, h, w).
        norm: batch norm of K channels.
        places: (S,) int64 into the flattened (N, h, w); duplicates are allowed.

    Returns:
        The normalised pixels (S, K) at ``places``, differentiable once, and the normalised maps (N, K, h, w), detached.
    """
    if not norm.training or maps.numel() == maps.shape[1]:  # batch norm itself raises on a single value
        normalised = norm(maps)
        return vectors_at(normalised, places), normalised.detach()
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    running = (norm.running_mean, norm.running_var, norm.momentum, norm.eps)
    drawn, normalised = _NormAt.apply(maps, norm.weight, norm.bias, places, running)
    return drawn, normalised


class _NormAt(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, places: Tensor, running: tuple[Any, ...]
    ) -> tuple[Tensor, Tensor]:
        mean, variance, momentum, eps = running
        normalised, means, factors = torch.native_batch_norm(maps, weight, bias, mean, variance, True, momentum, eps)
        ctx.save_for_backward(maps, weight, means, factors, places)
        ctx.mark_non_differentiable(normalised)
        return vectors_at(normalised, places), normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        maps, weight, means, factors, places = ctx.saved_tensors
        grad = grad.to(means.dtype)
        standard = (vectors_at(maps, places).to(means.dtype) - means) * factors
        of_weight, of_bias = (grad * standard).sum(0), grad.sum(0)
        count = maps.numel() // maps.shape[1]
        slope = -weight * factors**2 * of_weight / count
        offset = -weight * factors * of_bias / count - slope * means
        dense = torch.addcmul(offset[:, None, None], slope[:, None, None], maps)
        drawn = (grad * weight * factors).to(dense.dtype)
        dense.movedim(1, -1).index_put_(indices_at(places, maps), drawn, accumulate=True)
        return dense.to(maps.dtype), of_weight.to(weight.dtype), of_bias.to(weight.dtype), None, None
