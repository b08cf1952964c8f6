"""Modules that keep as many rows as a training has found, so that a file says how many there are."""

from collections.abc import Mapping

from torch import Tensor, nn


class Growing(nn.Module):
    """A module with buffers that are a table: their number of rows, the same for all of them, changes.

    Attributes:
        growing: names of these buffers.
    """

    growing: tuple[str, ...] = ()


def make_room(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give every table in ``module`` as many rows, of zeros, as it has among ``tensors``, which are then loaded.

    A table that is incomplete there, or whose buffers are not equally long, is left alone: it does not fit.
    """
    for prefix, part in module.named_modules():
        if not isinstance(part, Growing):
            continue
        given = [tensors.get(f"{prefix}.{name}" if prefix else name) for name in part.growing]
        lengths = {len(tensor) if tensor is not None and tensor.ndim else None for tensor in given}
        if len(lengths) != 1 or None in lengths:
            continue
        for name in part.growing:
            buffer = getattr(part, name)
            setattr(part, name, buffer.new_zeros((*lengths, *buffer.shape[1:])))
