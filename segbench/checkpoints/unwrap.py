"""Take the state dict and the metadata out of a checkpoint file, whatever a program wrapped them in."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from segbench.core.errors import InvalidFault

from . import families
from .read import FileKind, damaged, identify, read_safetensors, read_torch, training_state

# Common to many programs and no project's own, as in PyTorch's tutorials; the keys of projects stand in their families.
_STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "network", "net", "params")
_AVERAGE_KEYS = ("state_dict_ema", "ema")
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_OPTIMIZER_KEYS = ("optimizer", "optimizer_state_dict", "optim", "param_groups")
_MAX_DEPTH, _MAX_ENTRIES = 8, 10_000  # of metadata; real ones have some hundreds of entries on four levels


@dataclass(frozen=True)
class Contents:
    """Contents of a checkpoint.

    Attributes:
        tensors: by name, on the CPU, wrappers and data-parallel prefixes removed.
        metadata: what its project wrote beside them, by the keys that families declare; plain data only: strings,
            numbers, tuples, and dictionaries of these.
    """

    tensors: dict[str, Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_tensors(path: Path, *, averaged: bool = False) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint by name, see `read_contents`."""
    return read_contents(path, averaged=averaged).tensors


def read_contents(path: Path, *, averaged: bool = False) -> Contents:
    """Read the tensors of a checkpoint and the metadata beside them.

    Args:
        path: safetensors, or a file of ``torch.save``.
        averaged: take the exponential moving average that lies beside the weights.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: damaged, no checkpoint, a pickle that needs code, or no network in it.
    """
    kind = identify(path)
    if kind is FileKind.TRAINING_STATE:
        raise training_state(path)
    if kind is FileKind.OTHER:
        raise damaged(path)
    data: Mapping[str, Any] = read_torch(path) if kind is FileKind.TORCH else read_safetensors(path)[1]
    tensors = _without_prefixes(_state_dict(data, path, averaged=averaged))
    metadata = {key: _plain(data[key], 0) for key in _declared("metadata_keys") if isinstance(data.get(key), Mapping)}
    return Contents(tensors, metadata)


def _declared(attribute: str, common: Iterable[str] = ()) -> list[str]:
    """Return the keys that families declare, then the common ones, each once."""
    own = (key for family in families.registered().values() for key in getattr(family, attribute))
    return list(dict.fromkeys((*own, *common)))


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    prefixes = _declared("prefixes", _PREFIXES)
    while state and (prefix := next((each for each in prefixes if all(name.startswith(each) for name in state)), "")):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _state_dict(data: Mapping[str, Any], path: Path, *, averaged: bool) -> dict[str, Tensor]:
    averages = [data[key] for key in _declared("average_keys", _AVERAGE_KEYS) if isinstance(data.get(key), Mapping)]
    if averaged:
        if averages:
            return _tensors(averages[0])
        raise InvalidFault(f"{path} holds no moving average.", next=f"segbench eval --checkpoint {path}")
    if found := next(_wrapped(data, _declared("state_keys", _STATE_KEYS)), None):
        return found
    if any(_tensors(each) for each in averages):
        raise InvalidFault(
            f"{path} holds only a moving average of weights.", next=f"segbench eval --checkpoint {path} --ema"
        )
    if any(key in data for key in _OPTIMIZER_KEYS):
        raise InvalidFault(
            f"{path} holds the state of an optimizer, but no network.",
            next="segbench eval --checkpoint FILE, with the weights of the same training",
        )
    raise InvalidFault(f"{path} holds no tensors.", next="segbench eval --checkpoint FILE, with one that does")


def _wrapped(data: Mapping[str, Any], keys: list[str], depth: int = 0) -> Iterator[dict[str, Tensor]]:
    """Yield the tensors under each key, innermost first, then those of ``data``; what holds none is passed over.

    Wrappers may lie in wrappers, or hold only settings; a pickle may even hold a mapping in itself.
    """
    for key in keys if depth < _MAX_DEPTH else ():
        if isinstance(data.get(key), Mapping):
            yield from _wrapped(data[key], keys, depth + 1)
    if tensors := _tensors(data):
        yield tensors


def _tensors(data: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(name): value for name, value in data.items() if isinstance(value, Tensor)}


def _plain(value: object, depth: int) -> Any:
    """Return a copy of plain data, its mappings with the entries that are plain; None for anything else."""
    if isinstance(value, str | bool | int | float):
        return value
    if depth >= _MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        entries = [(key, each) for key, each in value.items() if isinstance(key, str)][:_MAX_ENTRIES]
        copies = ((key, _plain(each, depth + 1)) for key, each in entries)
        return {key: each for key, each in copies if each is not None}
    if isinstance(value, list | tuple) and len(value) <= _MAX_ENTRIES:
        return tuple(_plain(each, depth + 1) for each in value)
    return None
