"""From a checkpoint file to its tensors by name. Nothing in a file is ever executed."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segbench.core.errors import InvalidFault, MissingFault, first_line

# Where projects keep the network inside a checkpoint, the likeliest first.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "params")
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
_PREFIXES = ("module.", "_orig_mod.")
_OPTIMISER = ("optimizer", "optimizer_state_dict", "optim", "param_groups")
_META = "meta"  # where MMSegmentation and what is built on it keep words about the network
_DEEPEST, _MOST = 8, 10_000  # levels and entries of them; theirs are some hundreds on four levels
# torch says so of every file that was written with a protocol it did not write itself (torch/serialization.py).
_OLD_PROTOCOL = r"Detected pickle protocol \d+ in the checkpoint"
_BEGINNINGS = {
    b"<!doctype html": "it is a web page, which a server gave in the place of the file.",
    b"<html": "it is a web page, which a server gave in the place of the file.",
    b"version https://git-lfs": "it is a pointer of Git LFS; `git lfs pull` brings the file.",
}
_ZIP = b"PK\x03\x04"
_NEWER = (4, 5)  # protocols with instructions that torch's safe reader does not have
_CODE = re.compile(r"GLOBAL (\S+)")  # how torch says what it would have to call
_TENSORS_ALONE = "segbench eval --checkpoint TENSORS.pth, once you trust the file and have saved its state_dict as that"


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds.

    Attributes:
        tensors: by name, on the CPU, wrappers and data-parallel prefixes removed.
        meta: what its project wrote beside them, plain data only: strings, numbers, lists and dictionaries of these.
    """

    tensors: dict[str, Tensor]
    meta: Mapping[str, Any] = field(default_factory=dict)


def read_tensors(path: Path, *, averaged: bool = False) -> dict[str, Tensor]:
    """All tensors of a checkpoint by name; as of `read_contents`."""
    return read_contents(path, averaged=averaged).tensors


def read_contents(path: Path, *, averaged: bool = False) -> Contents:
    """All tensors of a checkpoint by name, and what its project wrote beside them.

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
    meta = data.get(_META)
    return Contents(found, _plain_entries(meta, 1) if isinstance(meta, Mapping) else {})


def _plain_entries(data: Mapping[Any, Any], level: int) -> dict[str, Any]:
    """The entries that are plain data, under names that are strings."""
    some = [(key, value) for key, value in data.items() if isinstance(key, str)][:_MOST]
    plain = ((key, _plain(value, level)) for key, value in some)
    return {key: value for key, value in plain if value is not None}


def _plain(value: object, level: int) -> Any:
    """A copy of what is plain data; None where it is not."""
    if isinstance(value, str | bool | int | float):
        return value
    if level >= _DEEPEST:
        return None
    if isinstance(value, Mapping):
        return _plain_entries(value, level + 1)
    if isinstance(value, list | tuple) and len(value) <= _MOST:
        return tuple(_plain(each, level + 1) for each in value)
    return None


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        what = _what_else(path) or f"{first_line(error)}."
        raise InvalidFault(f"{path} is damaged or no safetensors file: {what}", next=_again(path)) from error


def _pickled(path: Path) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_OLD_PROTOCOL, category=UserWarning)
            data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if named := _CODE.search(str(error)):
            raise InvalidFault(
                f"{path} holds more than tensors and plain data ({named[1]}): loading it would run code, so it is "
                "refused.",
                next=_TENSORS_ALONE,
            ) from None
        if (protocol := _protocol(path)) in _NEWER:
            raise InvalidFault(
                f"{path} was written with pickle protocol {protocol}, which is not read without running code; 2 and 3 "
                "are.",
                next=_TENSORS_ALONE,
            ) from None
        what = _what_else(path)
        reason = f": {what}" if what else "."
        raise InvalidFault(f"{path} is damaged or no checkpoint{reason}", next=_again(path)) from None
    except (RuntimeError, EOFError, zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError,
            AssertionError, OverflowError, OSError, struct.error) as error:  # fmt: skip
        what = _what_else(path)
        said = first_line(error)
        # A look-up that failed inside the reader says nothing but a number or a name; the rest is torch's advice.
        reason = f": {what}" if what else f": {said.partition('. ')[0].rstrip('.')}." if " " in said else "."
        raise InvalidFault(f"{path} is damaged or no checkpoint{reason}", next=_again(path)) from error
    if not isinstance(data, Mapping):
        raise InvalidFault(f"{path} holds {type(data).__name__}, not tensors by name.", next=_TENSORS_ALONE)
    return data


def _what_else(path: Path) -> str:
    """What a file that does not read is by its beginning and its end; empty if they do not tell."""
    with path.open("rb") as file:
        start = file.read(256)
    for mark, said in _BEGINNINGS.items():
        if start.lstrip()[: len(mark)].lower() == mark:
            return said
    if not start:
        return "it is empty."
    return "its end is missing." if start[:4] == _ZIP and not zipfile.is_zipfile(path) else ""


def _again(path: Path) -> str:
    return f"segbench eval --checkpoint {path}, once it has been downloaded or copied again"


def _protocol(path: Path) -> int | None:
    """The pickle protocol that a file of ``torch.save`` says it has; None where it says none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith("data.pkl")]
                start = archive.read(names[0])[:2] if names else b""
        else:
            with path.open("rb") as file:
                start = file.read(2)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError):
        return None
    return start[1] if len(start) == 2 and start[:1] == pickle.PROTO else None


def _network(data: Mapping[str, Any], path: Path, *, averaged: bool) -> dict[str, Tensor]:
    if averaged:
        for name in _AVERAGED:
            if isinstance(data.get(name), Mapping):
                return _tensors(data[name])
        raise InvalidFault(f"{path} holds no moving average.", next=f"segbench eval --checkpoint {path}")
    if found := _innermost(data):
        return found
    if any(isinstance(data.get(name), Mapping) and _tensors(data[name]) for name in _AVERAGED):
        raise InvalidFault(
            f"{path} holds a moving average of weights alone.", next=f"segbench eval --checkpoint {path} --ema"
        )
    if any(name in data for name in _OPTIMISER):
        raise InvalidFault(
            f"{path} holds the state of an optimiser, but no network.",
            next="segbench eval --checkpoint FILE, with the weights of the same training",
        )
    raise InvalidFault(f"{path} holds no tensors.", next="segbench eval --checkpoint FILE, with one that does")


def _innermost(data: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of the first wrapper that has any; wrappers may lie in wrappers, or hold settings alone."""
    for name in _WRAPPERS:
        if isinstance(data.get(name), Mapping) and (inner := _innermost(data[name])):
            return inner
    return _tensors(data)


def _tensors(data: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(name): value for name, value in data.items() if isinstance(value, Tensor)}
