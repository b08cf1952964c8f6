"""What every data set's ``reader`` module offers, and what they share.

A reader has two functions: ``locate(root) -> Path | None`` finds the data set's folder under the data root,
``pairs(folder, split) -> list[Pair]`` lists a split in a fixed order without opening an image. It may have
``read_label(path)`` where labels are not grey 8-bit images.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from segbench.core.errors import MissingFault
from segbench.core.registry import has_part, implementation

from . import images
from .facts import DatasetOptions, facts


class Pair(NamedTuple):
    """One image and its label file. ``key`` is ``split/name``."""

    key: str
    image: Path
    label: Path


def is_readable(name: str) -> bool:
    """Whether segbench has a reader for the data set; facts it may have before that."""
    return has_part("dataset", name, "reader")


def locate(name: str, root: Path) -> Path | None:
    """Folder of a data set under the data root, None if there is none."""
    return _reader(name).locate(root)


def require_folder(name: str, root: Path, options: DatasetOptions) -> Path:
    """As ``locate``.

    Raises:
        MissingFault: there is no such folder; says how to get the data.
    """
    folder = locate(name, root)
    if folder is None:
        where = root / name
        raise MissingFault(
            f"{options.title} is not under {root} (looked for {where}). {options.obtain}",
            next=f"segbench data download {name}" if options.archive else f"segbench data list {name}",
        )
    return folder


def pairs(name: str, folder: Path, split: str) -> list[Pair]:
    """The pairs of a split in their fixed order; files need not exist."""
    return _reader(name).pairs(folder, split)


def label_reader(name: str) -> Callable[[Path], np.ndarray]:
    """The function that reads this data set's label files as raw uint8 values (H, W)."""
    return getattr(_reader(name), "read_label", images.read_label)


def _reader(name: str) -> ModuleType:
    if not is_readable(name):
        fault = f"segbench cannot read {facts(name).title} from files yet; generated scenes with its classes it can."
        raise MissingFault(fault, next="segbench data list")
    return implementation("dataset", name, "reader")


def file_names(folder: Path, suffix: str) -> set[str]:
    """Names of the files with that suffix, empty if there is no such folder; hidden files are left out."""
    if not folder.is_dir():
        return set()
    return {item.name for item in folder.iterdir() if item.suffix.lower() == suffix and item.name[0] != "."}
