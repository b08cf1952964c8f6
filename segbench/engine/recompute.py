"""Activation checkpointing: a backbone keeps the inputs of its blocks and recomputes the rest for the gradients.

Chen et al. 2016 (arXiv 1604.06174), by ``torch.utils.checkpoint``. The second pass draws the same numbers (dropout,
stochastic depth) and does not touch running statistics, so that no result of a training depends on it.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

_CONTAINERS = (nn.Sequential, nn.ModuleList)


def pieces(backbone: nn.Module) -> list[nn.Module]:
    """Return the units of recomputation: the outermost members of sequences and lists that have submodules.

    Blocks of a ResNet, a MobileNet or a Mix Transformer, exchange modules of an HRNet, stages of a Swin.
    """
    found: list[nn.Module] = []
    for child in backbone.children():
        if not isinstance(child, _CONTAINERS):
            found += pieces(child)
            continue
        for member in child:
            if isinstance(member, _CONTAINERS):
                found += pieces(nn.ModuleList([member]))
            elif next(member.children(), None) is not None:
                found.append(member)
    return found


def checkpoint_activations(backbone: nn.Module) -> None:
    """Let a backbone recompute its blocks in the backward pass, in place; names and tensors stay."""
    for piece in pieces(backbone):
        piece.forward = _recomputed(piece)


def _recomputed(piece: nn.Module) -> Callable[..., Any]:
    forward = piece.forward
    norms = [module for module in piece.modules() if isinstance(module, _NormBase)]

    def contexts() -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
        return contextlib.nullcontext(), _frozen_statistics(norms)

    def run(*inputs: Any) -> Any:
        if not (piece.training and torch.is_grad_enabled()):
            return forward(*inputs)
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)

    return run


@contextlib.contextmanager
def _frozen_statistics(norms: list[_NormBase]) -> Iterator[None]:
    """Normalise by batch statistics without updating the running ones a second time.

    They are still passed, with a momentum of 0, as the backward pass needs as many tensors as the first pass saved.
    """
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, _, count in before:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if count is None else count.clone()
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
