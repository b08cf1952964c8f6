"""Weights of segbench: safetensors with a JSON header that describes the network."""

import json
from pathlib import Path

from pydantic import ValidationError
from pydantic.dataclasses import dataclass
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from segbench.core import atomic
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.spec import ModelSpec, Size
from segbench.models.segmentor import Segmentor, build_segmentor

from .loading import load_strictly
from .read import HEADER_KEY, FileKind, damaged, identify, read_safetensors, training_state

FORMAT = "segbench-weights-1"


@dataclass(frozen=True)
class WeightsHeader:
    """The header of a weights file.

    Attributes:
        model: the network.
        classes: class names, in order of the logits.
        dataset: data set it was trained on.
        training: id of the training that made it, if any.
        step: optimiser steps done.
        data_scale: factor by which whole images were resized in training.
        data_source: ``folder`` or ``generated``.
        data_images: number of generated images.
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
    # A single entry: several are written in any order, and equal weights would make unequal files.
    atomic.write_bytes(path, to_safetensors(tensors, {HEADER_KEY: json.dumps(about)}))


def load_weights(path: Path) -> tuple[WeightsHeader, dict[str, Tensor]]:
    """Read a weights file that ``save_weights`` wrote.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: it is damaged, not a checkpoint, or not one of segbench.
    """
    kind = identify(path)
    if kind is FileKind.OTHER:
        raise damaged(path)
    if kind is FileKind.TRAINING_STATE:
        raise training_state(path)
    if kind is FileKind.TORCH:
        raise InvalidFault(
            f"{path} is a checkpoint of another program; weights of segbench are safetensors with a header.",
            next=f"segbench weights convert {path} --to segbench",
        )
    metadata, tensors = read_safetensors(path)
    if kind is FileKind.SAFETENSORS:
        raise InvalidFault(
            f"{path} holds tensors, but no header of segbench: which network they belong to is not known.",
            next=f"segbench weights convert {path} --to segbench",
        )
    try:
        about = json.loads(metadata[HEADER_KEY])
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
        raise InvalidFault(f"The header of {path} is invalid: {_reason(error)}.", next="segbench list") from error
    return header, tensors


def build_from_weights(path: Path) -> tuple[Segmentor, WeightsHeader]:
    """Build the network of a weights file and load it strictly; it is in evaluation mode.

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
    load_strictly(segmentor, tensors, source=path.name, next="segbench list")
    return segmentor.eval(), header


def _reason(error: BaseException) -> str:
    """Return an error in one short line; pydantic's first line only counts the faults."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[1:3] if isinstance(error, ValidationError) else lines[:1])[:160].rstrip(".")
