"""Gradients of one step, of the whole batch at once or accumulated over micro-batches to save memory."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.data.batch import Batch
from segbench.losses.precision import at_least_float32
from segbench.methods.base import Method
from segbench.methods.step import StepInfo

from .runtime import Runtime


def backward(
    method: Method,
    batches: dict[str, Batch],
    *,
    info: StepInfo,
    runtime: Runtime,
    reduce_sum: Callable[[Tensor], Tensor] = lambda values: values,
) -> tuple[tuple[str, ...], Tensor]:
    """Compute the losses of a batch and add their gradients to those of the parameters.

    Losses of a micro-batch are weighted by its share of their normalizers (`Method.loss_normalizers`), those of all
    micro-batches and processes together. Mean losses thus have the value and the gradient of the whole batch; only
    normalisation layers see the statistics of the micro-batch.

    Args:
        method: module to train.
        batches: of every stream, on the device; with several processes, the share of this one.
        info: position within the training; its micro-batch is ignored.
        runtime: device and precision.
        reduce_sum: sum of a tensor over all processes.

    Returns:
        Names of the losses and their values (K,), detached, in float32 or, if they are, float64; with several
        processes the sum over these is the loss of the batch. Nothing waits for the device.

    Raises:
        InvalidFault: a batch cannot be split into so many micro-batches.
        ValueError: the method names no normalizer of a loss.
    """
    micro_batches = _split(batches, info.micro_batches)
    names: tuple[str, ...] = ()
    shares: list[Tensor] = []
    total: Tensor | None = None
    for index, micro_batch in enumerate(micro_batches):
        with runtime.autocast():
            terms = method(micro_batch, replace(info, micro_batch=index))
        losses = torch.stack([at_least_float32(term) for term in terms.values()])
        if not index:  # not before: the network may decide at which resolution a loss is taken
            names = tuple(terms)
            shares = _shares(method, names, micro_batches, reduce_sum, dtype=losses.dtype)
        losses = losses * shares[index]
        losses.sum().backward()
        total = losses.detach() if total is None else total + losses.detach()
    assert total is not None
    return names, total


def _split(batches: dict[str, Batch], count: int) -> list[dict[str, Batch]]:
    """Split the batch of every stream into ``count`` equal micro-batches of consecutive images."""
    if count == 1:
        return [batches]
    for name, batch in batches.items():
        if len(batch.images) % count:
            raise InvalidFault(
                f"The {len(batch.images)} images of stream {name!r} cannot be cut into {count} micro-batches."
            )
    return [{name: _chunk(batch, index, count) for name, batch in batches.items()} for index in range(count)]


def _chunk(batch: Batch, index: int, count: int) -> Batch:
    size = len(batch.images) // count
    place = slice(index * size, (index + 1) * size)
    rows, columns = (None if each is None else each[place] for each in (batch.rows, batch.columns))
    images, target = batch.images[place], batch.target[place]
    return replace(batch, images=images, target=target, keys=batch.keys[place], rows=rows, columns=columns)


def _shares(
    method: Method,
    names: tuple[str, ...],
    micro_batches: list[dict[str, Batch]],
    reduce_sum: Callable[[Tensor], Tensor],
    *,
    dtype: torch.dtype,
) -> list[Tensor]:
    """Return the share (K,) of each micro-batch in the normalizers of all; 0 where these are 0."""
    found = [method.loss_normalizers(micro_batch) for micro_batch in micro_batches]
    missing = [name for name in names if name not in found[0]]
    if missing:
        raise ValueError(
            f"{type(method).__name__}.loss_normalizers lacks {', '.join(map(repr, missing))}: every loss needs the "
            "denominator of its mean"
        )
    values = torch.stack([torch.stack([each[name].to(dtype) for name in names]) for each in found])
    total = reduce_sum(values.sum(0))
    return list((values / torch.where(total > 0, total, 1)).unbind())
