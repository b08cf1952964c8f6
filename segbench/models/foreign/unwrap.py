"""From a checkpoint file to its tensors by name. Nothing in a file is ever executed."""

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segbench.core.errors import InvalidFault, MissingFault

# Where projects keep the network inside a checkpoint, the likeliest first.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "params")
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
_PREFIXES = ("module.", "_orig_mod.")
_OPTIMISER = ("optimizer", "optimizer_state_dict", "optim", "param_groups")
_CODE = re.compile(r"GLOBAL (\S+)")  # how torch says what it would have to call
ZIP_ADVICE = "segbench eval --checkpoint FILE.safetensors, made from it where you trust it"


def read_tensors(path: Path, *, averaged: bool = False) -> dict[str, Tensor]:
    """All tensors of a checkpoint by name, on the CPU, wrappers and data-parallel prefixes removed.

    Args:
        path: safetensors, or what ``torch.save`` wrote.
        averaged: take the exponential moving average that lies beside the weights.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: damaged, no checkpoint, a pickle that needs code, or no network in it.
    """
    if not path.is_file():
        raise MissingFault(f"There is no file {path}.", next="segbench weights list")
    data = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    found = _network(data, path, averaged=averaged)
    while found and any(all(name.startswith(prefix) for name in found) for prefix in _PREFIXES):
        prefix = next(prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in found))
        found = {name[len(prefix) :]: tensor for name, tensor in found.items()}
    return found


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise InvalidFault(
            f"{path} is damaged or no safetensors file: {str(error).splitlines()[0]}.", next="segbench weights list"
        ) from error


def _pickled(path: Path) -> Mapping[str, Any]:
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if named := _CODE.search(str(error)):
            raise InvalidFault(
                f"{path} holds more than tensors and plain data ({named[1]}): loading it would run code, so it is "
                "refused.",
                next=ZIP_ADVICE,
            ) from None
        raise InvalidFault(f"{path} is damaged or no checkpoint.", next="segbench weights list") from None
    except (RuntimeError, EOFError, zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError,
            AssertionError, OverflowError, OSError, struct.error) as error:  # fmt: skip
        said = str(error).splitlines()[0].strip() if str(error) else ""
        # A look-up that failed inside the reader says nothing but a number or a name.
        reason = f": {said}" if " " in said else "."
        raise InvalidFault(f"{path} is damaged or no checkpoint{reason}", next="segbench weights list") from error
    if not isinstance(data, Mapping):
        raise InvalidFault(f"{path} holds {type(data).__name__}, not tensors by name.", next="segbench weights list")
    return data


def _network(data: Mapping[str, Any], path: Path, *, averaged: bool) -> dict[str, Tensor]:
    if averaged:
        for name in _AVERAGED:
            if isinstance(data.get(name), Mapping):
                return _tensors(data[name])
        raise InvalidFault(f"{path} holds no moving average.", next=f"segbench eval --checkpoint {path}")
    if found := _innermost(data):
        return found
    if any(name in data for name in _OPTIMISER):
        raise InvalidFault(f"{path} holds the state of an optimiser, but no network.", next="segbench weights list")
    raise InvalidFault(f"{path} holds no tensors.", next="segbench weights list")


def _innermost(data: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of the first wrapper that has any; wrappers may lie in wrappers, or hold settings alone."""
    for name in _WRAPPERS:
        if isinstance(data.get(name), Mapping) and (inner := _innermost(data[name])):
            return inner
    return _tensors(data)


def _tensors(data: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(name): value for name, value in data.items() if isinstance(value, Tensor)}
