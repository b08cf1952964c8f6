"""Folder of a stage: file names, summary and lock."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segbench.core import atomic
from segbench.core.errors import Busy, InvalidFault, first_line

STATE, LAST, BEST, SUMMARY = "state.pt", "last.safetensors", "best.safetensors", "summary.json"
REFRESHED = "refreshed.safetensors"  # better than the best, see `Method.refresh`


@dataclass
class Summary:
    """Summary of a finished stage; written last, so a stage that has one is complete.

    Attributes:
        steps: optimiser steps done.
        seconds: time spent in steps, without validation and saving.
        seconds_per_step: mean of these, waiting for data included.
        seconds_per_iteration: median over the last steps without their data, see ``clock``; None if there were few.
        parameters: number of parameters of the evaluated network.
        peak_memory_bytes: peak memory of the device, or of the process on a CPU.
        losses: mean of each loss over the steps of the last point of the curve.
        curve: one point per validation and one at the end: ``step``, ``lr``, ``loss_...`` and, if validated, ``miou``.
        best: step and mIoU of the best validation; None without validation.
        last: step and mIoU of the last validation.
        weights: source of the initial weights.
        refreshed: ``batches`` that the best weights have seen once more, the ``miou`` afterwards, and whether it was
            ``better`` so that these are scored in their place; None if the method does no such thing.
    """

    steps: int
    seconds: float
    seconds_per_step: float
    parameters: int
    peak_memory_bytes: int
    losses: dict[str, float]
    curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None
    last: dict[str, float] | None = None
    weights: dict[str, Any] = field(default_factory=dict)
    seconds_per_iteration: float | None = None
    refreshed: dict[str, Any] | None = None


def read_summary(folder: Path) -> Summary | None:
    """Return the summary of a finished stage; None if there is none, or its weights are gone.

    Raises:
        InvalidFault: the summary cannot be read.
    """
    path = folder / SUMMARY
    if not path.exists() or not (folder / LAST).is_file():
        return None
    try:
        return Summary(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise InvalidFault(
            f"{path} does not read: {first_line(error)}", next=f"rm {path}, and type the same command again"
        ) from error


@contextlib.contextmanager
def stage_lock(folder: Path, training: str) -> Iterator[None]:
    """Hold the folder's lock; the kernel releases it when a process dies, however it dies.

    Raises:
        Busy: another process holds it.
        RunFault: the folder cannot be written.
    """
    lock = FileLock(folder / "lock")
    with atomic.guarded(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Busy(
                f"Another process is working on training {training}.",
                next="wait for it; what it finishes is shared, then type the same command again",
            ) from None
    try:
        _remove_partial_files(folder)
        yield
    finally:
        lock.release()


def _remove_partial_files(folder: Path) -> None:
    """Remove the temporary files of a process that was killed while writing."""
    for name in (STATE, LAST, BEST, SUMMARY):
        for stale in folder.glob(f".{name}.*"):
            stale.unlink(missing_ok=True)
