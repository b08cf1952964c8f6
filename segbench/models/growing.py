"""Modules with buffers that grow in training, so that their size follows from the file that is loaded."""

from collections.abc import Mapping

from torch import Tensor, nn


class Growing(nn.Module):
    """Base of a module with buffers that form a table: they have the same number of rows, which changes.

    Attributes:
        growing: names of these buffers.
    """

    growing: tuple[str, ...] = ()


def make_room(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Resize every table in ``module`` to the rows it has in ``tensors``, filled with zeros, before these are loaded.

    A table that is incomplete there, or has buffers of different lengths, is left as it is and will not fit.
    """
    for prefix, table in module.named_modules():
        if not isinstance(table, Growing):
            continue
        given = [tensors.get(f"{prefix}.{name}" if prefix else name) for name in table.growing]
        lengths = {len(tensor) if tensor is not None and tensor.ndim else None for tensor in given}
        if len(lengths) != 1 or None in lengths:
            continue
        for name in table.growing:
            buffer = getattr(table, name)
            setattr(table, name, buffer.new_zeros((*lengths, *buffer.shape[1:])))
