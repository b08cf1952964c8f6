"""Files of a training: resumable state, and weights to evaluate, hand on and share.

Weights are safetensors with a JSON header that says which network they belong to. State is read with
``weights_only=True``. Nothing read here can run code.
"""

import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from segbench.core import atomic
from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.spec import ModelSpec
from segbench.models.segmentor import Segmentor, build_segmentor

FORMAT = "segbench-weights-1"


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
    """

    model: ModelSpec
    classes: tuple[str, ...]
    dataset: str
    training: str = ""
    step: int = 0
    data_scale: float = 1.0
    data_source: str = "folder"
    data_images: int | None = None


def save_weights(path: Path, segmentor: nn.Module, header: WeightsHeader) -> None:
    """Write a network's weights and header atomically.

    Raises:
        RunFault: the disk is full or not writable.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in segmentor.state_dict().items()}
    about = {
        "model": header.model.canonical(),
        "classes": list(header.classes),
        "dataset": header.dataset,
        "training": header.training,
        "step": header.step,
        "data_scale": header.data_scale,
        "data_source": header.data_source,
        "data_images": header.data_images,
    }
    atomic.write_bytes(path, to_safetensors(tensors, {"format": FORMAT, "segbench": json.dumps(about)}))


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
    if metadata.get("format") != FORMAT:
        raise InvalidFault(
            f"{path} holds tensors, but no header of segbench: which network they belong to is not known.",
            next="segbench eval --checkpoint FILE.safetensors, with a file that segbench wrote",
        )
    try:
        about = json.loads(metadata["segbench"])
        header = WeightsHeader(
            ModelSpec.model_validate(about["model"]),
            tuple(about["classes"]),
            about["dataset"],
            about["training"],
            about["step"],
            about["data_scale"],
            about["data_source"],
            about["data_images"],
        )
    except (KeyError, ValueError, ValidationError) as error:
        raise InvalidFault(
            f"The header of {path} does not read: {str(error).splitlines()[0]}.", next="segbench list"
        ) from error
    return header, tensors


def build_from_weights(path: Path) -> tuple[Segmentor, WeightsHeader]:
    """The network of a weights file, loaded strictly, in evaluation mode.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: the file does not fit the network that its header names.
    """
    header, tensors = load_weights(path)
    segmentor = build_segmentor(header.model, num_classes=len(header.classes))
    load_into(segmentor, tensors, path)
    return segmentor.eval(), header


def load_into(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load strictly: every tensor must be there, wanted and of the right shape.

    Raises:
        InvalidFault: names the first tensor of each kind of misfit.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    shapes = [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
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
    if faults:
        raise InvalidFault(*faults, next="segbench list")
    module.load_state_dict(tensors)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write resumable state atomically: plain data and tensors only.

    Raises:
        RunFault: the disk is full or not writable; the older state stays.
    """
    atomic.write(path, lambda file: torch.save(state, file))


def load_state(path: Path, *, device: str) -> dict[str, Any] | None:
    """Resumable state, None where there is none.

    Raises:
        InvalidFault: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile, ValueError) as error:
        raise InvalidFault(
            f"{path} is damaged: {str(error).splitlines()[0][:120]}", next=f"rm {path}, and type the same command again"
        ) from error


def _what_else(path: Path) -> str:
    """One sentence on a file that is no safetensors file, found without running anything in it."""
    if not zipfile.is_zipfile(path):
        head = path.read_bytes()[:1]
        legacy = " It may be an old pickle, which segbench never opens." if head == b"\x80" else ""
        return f"{path} is no checkpoint.{legacy}"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return f"{path} holds pickled code or objects beyond tensors. It was not run, and segbench never will."
    except (RuntimeError, EOFError, KeyError, ValueError):
        return f"{path} is damaged or no checkpoint."
    if isinstance(content, dict) and "segbench_state" in content:
        return f"{path} is the resumable state of a training; the weights to evaluate lie beside it (*.safetensors)."
    return f"{path} is a checkpoint of another program; only files that segbench wrote can be scored so far."
