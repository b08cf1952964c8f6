"""The same layer in other forms: attention's projections joined or apart, a linear layer as a 1x1 convolution."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault

from .family import State


def join(state: State, parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """Linear layers that lie beside each other as one, their outputs in the order of ``parts``.

    Args:
        state: names to tensors.
        parts: last names of the layers, e.g. ``("key", "value")``.
        whole: last name of the joined layer.

    Raises:
        KeyError: one of the parts is missing.
        InvalidFault: they have different shapes.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        around, _, part = module.rpartition(".")
        if part not in parts:
            found[name] = tensor
            continue
        joined = f"{around}.{whole}.{kind}"
        if joined not in found:
            pieces = [state[f"{around}.{each}.{kind}"] for each in parts]
            if len({piece.shape for piece in pieces}) > 1:
                raise InvalidFault(f"{', '.join(parts)} of {around} differ in shape.", next="segbench weights list")
            found[joined] = torch.cat(pieces)
    return found


def split(state: State, whole: str, parts: Sequence[str]) -> dict[str, Tensor]:
    """The inverse of `join`; a layer whose outputs do not divide among ``parts`` stays as it is."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        around, _, last = module.rpartition(".")
        if last != whole or tensor.ndim == 0 or tensor.shape[0] % len(parts):
            found[name] = tensor
        else:
            for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True):
                found[f"{around}.{part}.{kind}"] = piece.clone()  # one storage must not be saved as several
    return found


def as_linear(state: State, layers: re.Pattern[str]) -> dict[str, Tensor]:
    """1x1 convolutions as linear layers, where ``layers`` matches the whole name of the weight."""
    return {
        name: tensor.flatten(1) if tensor.shape[2:] == (1, 1) and layers.fullmatch(name) else tensor
        for name, tensor in state.items()
    }


def as_convolution(state: State, layers: re.Pattern[str]) -> dict[str, Tensor]:
    """The inverse of `as_linear`."""
    return {
        name: tensor[..., None, None] if tensor.ndim == 2 and layers.fullmatch(name) else tensor
        for name, tensor in state.items()
    }
