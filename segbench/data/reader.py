"""Interface of every data set's ``reader`` module.

A reader has two functions: ``locate(root) -> Path | None`` finds the data set's folder under the data root,
``pairs(folder, split) -> list[Pair]`` lists a split in a fixed order without opening an image. Optional are

- ``read_label(path) -> uint8 (H, W)``, if labels are not grey 8-bit images: returns the values of the class table;
- ``layout(folder) -> str``: layout or encoding of the folder, a few words;
- ``examine(folder) -> Iterator[Finding]``: checks specific to this data set, without reading every image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np

from segbench.core.errors import MissingFault
from segbench.core.registry import has_module, implementation

from . import images
from .facts import DatasetOptions, facts


class Pair(NamedTuple):
    """One image with its label and instances.

    Attributes:
        key: ``split/name``, unique in the data set.
        image: image file.
        label: label file; None if the labels of the split are not public.
        instances: instance file, if there is one.
    """

    key: str
    image: Path
    label: Path | None
    instances: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that are needed to train or to score."""
        return (self.image,) if self.label is None else (self.image, self.label)


@dataclass(frozen=True)
class Finding:
    """One result of examining a data set.

    Attributes:
        level: ``ok``, ``note`` (worth knowing) or ``fault`` (to fix before a figure can be trusted).
        text: one sentence, with the file if it concerns one.
        fix: command that fixes it, or empty.
        kind: kind of fault; only the first few of a kind are printed.
    """

    level: Literal["ok", "note", "fault"]
    text: str
    fix: str = ""
    kind: str = ""


def is_readable(name: str) -> bool:
    """Return True if segbench has a reader for the data set; facts may exist without one."""
    return has_module("dataset", name, "reader")


def locate(name: str, root: Path) -> Path | None:
    """Return the folder of a data set under the data root, None if there is none."""
    return _reader(name).locate(root)


def require_folder(name: str, root: Path, options: DatasetOptions) -> Path:
    """Return the folder of a data set under the data root.

    Raises:
        MissingFault: there is no such folder; says how to get the data.
    """
    folder = locate(name, root)
    if folder is None:
        where = root / name
        raise MissingFault(
            f"{options.title} is not under {root} (looked for {where}). {options.obtain}",
            next=f"segbench data download {name}" if options.archives else f"segbench data list {name}",
        )
    return folder


def pairs(name: str, folder: Path, split: str) -> list[Pair]:
    """Return the pairs of a split in their fixed order; files need not exist."""
    return _reader(name).pairs(folder, split)


def label_reader(name: str) -> Callable[[Path], np.ndarray]:
    """Return the function that reads the label files of a data set as uint8 (H, W): the values of the class table."""
    return getattr(_reader(name), "read_label", images.read_label)


def layout(name: str, folder: Path) -> str:
    """Return the layout or encoding of a folder in a few words; empty if the data set has only one."""
    return _reader(name).layout(folder) if hasattr(_reader(name), "layout") else ""


def examine(name: str, folder: Path) -> list[Finding]:
    """Return the results of the checks specific to this data set, without reading every image."""
    return list(_reader(name).examine(folder)) if hasattr(_reader(name), "examine") else []


def _reader(name: str) -> ModuleType:
    if not is_readable(name):
        fault = f"segbench cannot read {facts(name).title} from files yet; generated scenes with its classes it can."
        raise MissingFault(fault, next="segbench data list")
    return implementation("dataset", name, "reader")


def file_names(folder: Path, suffix: str) -> set[str]:
    """Return the names of the files with a suffix except hidden ones; empty if there is no such folder."""
    if not folder.is_dir():
        return set()
    return {item.name for item in folder.iterdir() if item.suffix.lower() == suffix and item.name[0] != "."}
