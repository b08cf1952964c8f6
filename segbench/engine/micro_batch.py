"""Gradients of one step: of a whole batch, or part by part so that a smaller memory holds it."""

from dataclasses import replace

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.data.batch import Batch
from segbench.methods.base import Method

from .runtime import Runtime


def backward(
    method: Method, batches: dict[str, Batch], *, step: int, parts: int, runtime: Runtime
) -> tuple[tuple[str, ...], Tensor]:
    """Compute the losses of a batch and add their gradients to those of the parameters.

    With several parts each passes through the network alone, and its losses count by their share of what they are
    means over (`Method.mean_over`). Losses that are means over pixels then have the batch's value and gradient, except
    that every normalisation sees the statistics of its part.

    Args:
        method: what is trained.
        batches: of every stream, on the device.
        step: optimiser steps done so far.
        parts: into how many equal parts every batch is cut.
        runtime: the machine.

    Returns:
        Names of the losses, and their values on the batch, (K,) float32, detached. Nothing waits for the device.

    Raises:
        InvalidFault: a batch cannot be cut into so many parts.
    """
    cut = _cut(batches, parts)
    method.before_step(step)
    shares = _shares([method.mean_over(part) for part in cut]) if parts > 1 else []
    total: Tensor | None = None
    names: tuple[str, ...] = ()
    for number, part in enumerate(cut):
        method.part = number
        with runtime.autocast():
            terms = method(part, step)
        names = tuple(terms)
        losses = torch.stack([term.float() for term in terms.values()])
        if shares:
            losses = losses * torch.stack([shares[number].get(name, losses.new_full((), 1 / parts)) for name in names])
        losses.sum().backward()
        total = losses.detach() if total is None else total + losses.detach()
    method.part = 0
    assert total is not None
    return names, total


def _cut(batches: dict[str, Batch], parts: int) -> list[dict[str, Batch]]:
    """The i-th part of every stream's batch together, for each i."""
    if parts == 1:
        return [batches]
    for name, batch in batches.items():
        if len(batch.images) % parts:
            raise InvalidFault(f"The {len(batch.images)} images of stream {name!r} cannot be cut into {parts} parts.")
    return [{name: _part(batch, number, parts) for name, batch in batches.items()} for number in range(parts)]


def _part(batch: Batch, number: int, parts: int) -> Batch:
    count = len(batch.images) // parts
    place = slice(number * count, (number + 1) * count)
    rows, columns = (None if each is None else each[place] for each in (batch.rows, batch.columns))
    images, target = batch.images[place], batch.target[place]
    return replace(batch, images=images, target=target, keys=batch.keys[place], rows=rows, columns=columns)


def _shares(weights: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Weights of every part, divided by their sum over the parts; 0 where the sum is."""
    shares: list[dict[str, Tensor]] = [{} for _ in weights]
    for name in weights[0]:
        values = torch.stack([each[name] for each in weights]).float()
        total = values.sum()
        for share, value in zip(shares, (values / torch.where(total > 0, total, 1)).unbind(), strict=True):
            share[name] = value
    return shares
