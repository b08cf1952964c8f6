"""Resumable state of a training, in files of ``torch.save`` that are read with ``weights_only=True``."""

import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from segbench.core import atomic
from segbench.core.errors import InvalidFault, first_line

from .read import DAMAGED


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write resumable state atomically: plain data and tensors only.

    Raises:
        RunFault: the disk is full or not writable; the older state stays.
    """

    def fill(file: IO[bytes]) -> None:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # torch reports its archive then, and hides the error of the file.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise

    atomic.write(path, fill)


def saved_step(path: Path) -> int:
    """Return the step at which resumable state was saved, without reading its tensors; 0 without a readable state."""
    if not path.exists():
        return 0
    try:
        return int(torch.load(path, map_location="cpu", mmap=True, weights_only=True)["step"])
    except (RuntimeError, OSError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError):
        return 0  # the training reports what is wrong with it


def load_state(path: Path) -> dict[str, Any] | None:
    """Return resumable state on the CPU; None if there is none.

    Raises:
        InvalidFault: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()  # torch itself does not notice a flipped bit
        if wrong is not None:
            raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        raise InvalidFault(
            f"{path} is damaged: {first_line(error).rstrip('.')}.", next=f"rm {path}, and type the same command again"
        ) from error
    return state if isinstance(state, dict) else {}
