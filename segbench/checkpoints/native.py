"""Files of a training: resumable state, and weights to evaluate, hand on and share.

Weights are safetensors with a JSON header that says which network they belong to. State is read with
``weights_only=True``. Nothing read here can run code.
"""

import json
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from pydantic import ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from segbench.core import atomic
from segbench.core.errors import InvalidFault, MissingFault, UsageFault
from segbench.core.spec import ModelSpec, Size
from segbench.models.growing import make_room
from segbench.models.segmentor import Segmentor, build_segmentor

KEY, FORMAT = "segbench", "segbench-weights-1"
# What reading a damaged archive raises.
_DAMAGED = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    zipfile.BadZipFile,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
)


@dataclass(frozen=True)
class WeightsHeader:
    """What a weights file says of itself.

    Attributes:
        model: the network.
        classes: class names, in order of the logits.
        dataset: data set it was trained on.
        training: id of the training that made it, if any.
        step: optimiser steps done.
        data_scale: factor by which whole images were resized in training.
        data_source: ``folder`` or ``generated``.
        data_images: how many images were generated.
        crop: (height, width) of its training crops; None where the file does not say.
    """

    model: ModelSpec
    classes: tuple[str, ...]
    dataset: str
    training: str = ""
    step: int = 0
    data_scale: float = 1.0
    data_source: str = "folder"
    data_images: int | None = None
    crop: Size | None = None


def save_weights(path: Path, segmentor: nn.Module, header: WeightsHeader) -> None:
    """Write a network's weights and header atomically.

    Raises:
        RunFault: the disk is full or not writable.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in segmentor.state_dict().items()}
    about = {
        "format": FORMAT,
        "model": header.model.canonical(),
        "classes": list(header.classes),
        "dataset": header.dataset,
        "training": header.training,
        "step": header.step,
        "data_scale": header.data_scale,
        "data_source": header.data_source,
        "data_images": header.data_images,
        **({"crop": header.crop} if header.crop else {}),
    }
    # One entry alone: several are written in any order, and equal weights would make unequal files.
    atomic.write_bytes(path, to_safetensors(tensors, {KEY: json.dumps(about)}))


def load_weights(path: Path) -> tuple[WeightsHeader, dict[str, Tensor]]:
    """Read a weights file made by ``save_weights``.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: it is no checkpoint, not one of segbench, or holds code.
    """
    if not path.is_file():
        raise MissingFault(f"There is no file {path}.", next="segbench eval --help")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError:
        raise InvalidFault(_what_else(path), next="segbench eval --checkpoint FILE.safetensors") from None
    if KEY not in metadata:
        raise InvalidFault(
            f"{path} holds tensors, but no header of segbench: which network they belong to is not known.",
            next="segbench eval --checkpoint FILE.safetensors, with a file that segbench wrote",
        )
    try:
        about = json.loads(metadata[KEY])
        if about["format"] != FORMAT:
            raise ValueError(f"the format is {about['format']!r}, not {FORMAT!r}")
        header = WeightsHeader(
            about["model"],
            tuple(about["classes"]),
            about["dataset"],
            about["training"],
            about["step"],
            about["data_scale"],
            about["data_source"],
            about["data_images"],
            about.get("crop"),
        )
    except (KeyError, TypeError, ValueError) as error:  # pydantic's is a ValueError
        raise InvalidFault(f"The header of {path} does not read: {_reason(error)}.", next="segbench list") from error
    return header, tensors


def is_weights(path: Path) -> bool:
    """Whether a file is one of ``save_weights``, as far as its header tells; what is damaged is none."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def is_state(path: Path) -> bool:
    """Whether a file is the resumable state of a training of segbench."""
    return path.is_file() and zipfile.is_zipfile(path) and _what_else(path) == state_says(path)


def state_says(path: Path) -> str:
    """What is said of such a file where weights are wanted."""
    return f"{path} is the resumable state of a training; the weights to evaluate lie beside it (*.safetensors)."


def build_from_weights(path: Path) -> tuple[Segmentor, WeightsHeader]:
    """The network of a weights file, loaded strictly, in evaluation mode.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: the file does not fit the network that its header names.
    """
    header, tensors = load_weights(path)
    try:
        segmentor = build_segmentor(header.model, num_classes=len(header.classes))
    except UsageFault as error:
        raise InvalidFault(
            f"{path} names a network that is not known here: {error.faults[0]}", next=error.next
        ) from error
    load_into(segmentor, tensors, path)
    return segmentor.eval(), header


def load_into(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load strictly: every tensor must be there, wanted, finite and of the right shape.

    Tables that grow (`Growing`) have as many rows as the file says.

    Raises:
        InvalidFault: names the first tensor of each kind of misfit.
    """
    make_room(module, tensors)
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    shapes = [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    wild = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    faults = []
    if missing:
        faults.append(f"{path.name}: {len(missing)} tensors of the network are missing, such as {missing[0]}.")
    if unexpected:
        faults.append(f"{path.name}: {len(unexpected)} tensors fit nowhere, such as {unexpected[0]}.")
    if shapes:
        name = shapes[0]
        faults.append(
            f"{path.name}: {len(shapes)} tensors have another shape, such as {name}: "
            f"{tuple(tensors[name].shape)} for {tuple(own[name].shape)}."
        )
    if wild:
        faults.append(f"{path.name}: {len(wild)} tensors hold values that are not finite, such as {wild[0]}.")
    if faults:
        raise InvalidFault(*faults, next="segbench list")
    module.load_state_dict(tensors)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write resumable state atomically: plain data and tensors only.

    Raises:
        RunFault: the disk is full or not writable; the older state stays.
    """

    def fill(file: IO[bytes]) -> None:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # What the file said is hidden behind what torch says of its archive then.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise

    atomic.write(path, fill)


def saved_step(path: Path) -> int:
    """The step at which resumable state was saved, its tensors unread; 0 where there is none that can be read."""
    if not path.exists():
        return 0
    try:
        return int(torch.load(path, map_location="cpu", mmap=True, weights_only=True)["step"])
    except (RuntimeError, OSError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError):
        return 0  # a training says what is wrong with it


def load_state(path: Path) -> dict[str, Any] | None:
    """Resumable state on the CPU, None where there is none.

    Raises:
        InvalidFault: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()  # torch itself reads over a flipped bit
        if wrong is not None:
            raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise InvalidFault(
            f"{path} is damaged: {_reason(error)}.", next=f"rm {path}, and type the same command again"
        ) from error
    return state if isinstance(state, dict) else {}


def _what_else(path: Path) -> str:
    """One sentence on a file that is no safetensors file, found without running anything in it."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            head = file.read(9)
        if head[8:] == b"{":  # a length, then JSON
            return f"{path} is a safetensors file that is damaged or cut short."
        if head[:2] == b"PK":
            return f"{path} is an archive that is damaged or cut short."
        legacy = " It may be an old pickle, which segbench never opens." if head[:1] == b"\x80" else ""
        return f"{path} is no checkpoint.{legacy}"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return f"{path} holds pickled code or objects beyond tensors. It was not run, and segbench never will."
    except _DAMAGED:
        return f"{path} is damaged or no checkpoint."
    if isinstance(content, dict) and "segbench_state" in content:
        return state_says(path)
    return f"{path} is a checkpoint of another program; only files that segbench wrote can be scored so far."


def _reason(error: BaseException) -> str:
    """An error in one short line; pydantic's first line only counts the faults."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[1:3] if isinstance(error, ValidationError) else lines[:1])[:160].rstrip(".")
