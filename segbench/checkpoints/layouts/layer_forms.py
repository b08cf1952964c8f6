"""Equivalent forms of layers: projections of an attention joined or split, a linear layer as a 1x1 convolution."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault

from ..family import StateDict


def join_linears(state: StateDict, layers: Sequence[str], joined: str) -> dict[str, Tensor]:
    """Join sibling linear layers into one, with the outputs in the order of ``layers``.

    Args:
        state: names to tensors.
        layers: last names of the layers, e.g. ``("key", "value")``.
        joined: last name of the joined layer.

    Raises:
        KeyError: one of the layers is missing.
        InvalidFault: they have different shapes.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        parent, _, layer = module.rpartition(".")
        if layer not in layers:
            found[name] = tensor
            continue
        new = f"{parent}.{joined}.{kind}"
        if new not in found:
            tensors = [state[f"{parent}.{each}.{kind}"] for each in layers]
            if len({each.shape for each in tensors}) > 1:
                raise InvalidFault(f"{', '.join(layers)} of {parent} differ in shape.", next="segbench weights list")
            found[new] = torch.cat(tensors)
    return found


def split_linears(state: StateDict, joined: str, layers: Sequence[str]) -> dict[str, Tensor]:
    """Invert `join_linears`; a layer whose outputs cannot be divided among ``layers`` stays as it is."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        parent, _, last = module.rpartition(".")
        if last != joined or tensor.ndim == 0 or tensor.shape[0] % len(layers):
            found[name] = tensor
        else:
            for layer, chunk in zip(layers, tensor.chunk(len(layers)), strict=True):
                found[f"{parent}.{layer}.{kind}"] = chunk.clone()  # chunks of one storage cannot be saved
    return found


def as_linear(state: StateDict, layers: re.Pattern[str]) -> dict[str, Tensor]:
    """Turn 1x1 convolutions into linear layers where ``layers`` matches the full name of the weight."""
    return {
        name: tensor.flatten(1) if tensor.shape[2:] == (1, 1) and layers.fullmatch(name) else tensor
        for name, tensor in state.items()
    }


def as_convolution(state: StateDict, layers: re.Pattern[str]) -> dict[str, Tensor]:
    """Invert `as_linear`."""
    return {
        name: tensor[..., None, None] if tensor.ndim == 2 and layers.fullmatch(name) else tensor
        for name, tensor in state.items()
    }
