"""Read files of weights: their kind, their tensors, and why a file cannot be read. No code in a file is ever run."""

import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segbench.core.errors import InvalidFault, MissingFault, first_line

HEADER_KEY = "segbench"  # metadata of segbench's own weights
STATE_KEY = "segbench_state"  # entry of resumable training states
# Exceptions from reading a damaged archive or pickle.
DAMAGED = (
    RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, ValueError,
    LookupError, TypeError, AttributeError, AssertionError, OverflowError,
)  # fmt: skip

# torch's warning on files of another pickle protocol than its own (torch/serialization.py).
_OLD_PROTOCOL = r"Detected pickle protocol \d+ in the checkpoint"
_NEWER = (4, 5)  # protocols with instructions that torch's safe reader lacks
_CODE = re.compile(r"GLOBAL (\S+)")  # torch's name of what it would have to call
_WEB_PAGE = "it is a web page, which a server gave in the place of the file."
_BEGINNINGS = {
    b"<!doctype html": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"version https://git-lfs": "it is a pointer of Git LFS; `git lfs pull` brings the file.",
}
_ZIP = b"PK"
_TENSORS_ALONE = "segbench eval --checkpoint TENSORS.pth, once you trust the file and have saved its state_dict as that"


class FileKind(Enum):
    """Kind of a file of weights, by its content."""

    WEIGHTS = "weights of segbench"
    SAFETENSORS = "safetensors of another program"
    TRAINING_STATE = "resumable state of a training of segbench"
    TORCH = "a file of torch.save"
    OTHER = "not a checkpoint"


def identify(path: Path) -> FileKind:
    """Return the kind of a file by its first bytes, its header or its index; no tensor is read.

    Raises:
        MissingFault: there is no such file.
    """
    if not path.is_file():
        raise MissingFault(f"There is no file {path}.", next="segbench weights list")
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # a length, then JSON
        return FileKind.WEIGHTS if HEADER_KEY in _header(path) else FileKind.SAFETENSORS
    if start[:1] == pickle.PROTO:
        return FileKind.TORCH
    if start[:2] == _ZIP and (content := _pickle_of(path)) is not None:
        return FileKind.TRAINING_STATE if STATE_KEY.encode() in content else FileKind.TORCH
    return FileKind.OTHER


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata and the tensors of a safetensors file.

    Raises:
        InvalidFault: it is damaged, or no such file.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise damaged(path, f"{first_line(error)}.") from error


def read_torch(path: Path) -> Mapping[str, Any]:
    """Return what ``torch.save`` wrote, on the CPU: tensors and plain data alone, by name.

    Raises:
        InvalidFault: damaged, written by code that would have to run, or no mapping.
    """
    try:
        with warnings.catch_warnings(), path.open("rb") as file:  # by its name, torch might take it for safetensors
            warnings.filterwarnings("ignore", message=_OLD_PROTOCOL, category=UserWarning)
            data = torch.load(file, map_location="cpu", weights_only=True)
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
        raise damaged(path) from None
    except (*DAMAGED, OSError) as error:
        # A failed look-up inside the reader is only a number or a name; after the first sentence comes torch's advice.
        said = first_line(error)
        raise damaged(path, f"{said.partition('. ')[0].rstrip('.')}." if " " in said else "") from error
    if not isinstance(data, Mapping):
        raise InvalidFault(f"{path} holds {type(data).__name__}, not tensors by name.", next=_TENSORS_ALONE)
    return data


def damaged(path: Path, reason: str = "") -> InvalidFault:
    """Return the fault of a file that cannot be read, with a better reason if its first bytes show one.

    Args:
        path: the file.
        reason: what the reader said, a sentence; empty if that helps nobody.
    """
    reason = _visible_reason(path) or reason
    said = f"{path} is damaged or not a checkpoint"
    again = f"segbench eval --checkpoint {path}, once it has been downloaded or copied again"
    return InvalidFault(f"{said}: {reason}" if reason else f"{said}.", next=again)


def training_state(path: Path) -> InvalidFault:
    """Return the fault of a training state given in the place of weights."""
    return InvalidFault(
        f"{path} is the resumable state of a training; the weights to evaluate lie beside it (*.safetensors).",
        next="segbench eval --checkpoint FILE.safetensors",
    )


def _visible_reason(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(256)
    for mark, said in _BEGINNINGS.items():
        if start.lstrip()[: len(mark)].lower() == mark:
            return said
    if not start:
        return "it is empty."
    return "its end is missing." if start[:2] == _ZIP and _is_cut(path) else ""


def _is_cut(archive: Path) -> bool:
    try:
        return not zipfile.is_zipfile(archive)
    except zipfile.BadZipFile:  # there is an end, but it is garbled
        return False


def _header(path: Path) -> Mapping[str, str]:
    """Return the metadata of a safetensors file; none of one that is damaged, which reading reports."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def _pickle_of(path: Path) -> bytes | None:
    """Return the pickle in an archive of ``torch.save``, which holds everything but the tensors; None without one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return archive.read(names[0]) if names else None
    except (*DAMAGED, OSError):
        return None


def _protocol(path: Path) -> int | None:
    """Return the pickle protocol that a file of ``torch.save`` states; None if it states none."""
    content = _pickle_of(path)
    if content is None:
        with path.open("rb") as file:
            content = file.read(2)
    return content[1] if len(content) > 1 and content[:1] == pickle.PROTO else None
