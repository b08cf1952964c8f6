"""What every data set's ``reader`` module offers, and what they share.

A reader has two functions: ``locate(root) -> Path | None`` finds the data set's folder under the data root,
``pairs(folder, split) -> list[Pair]`` lists a split in a fixed order without opening an image. It may have

- ``read_label(path) -> uint8 (H, W)`` where labels are not grey 8-bit images: the values of the class table;
- ``layout(folder) -> str`` which of several layouts or encodings lies there, a few words;
- ``examine(folder) -> Iterator[Finding]`` what only this data set must be asked, without reading every image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np

from segbench.core.errors import MissingFault
from segbench.core.registry import has_part, implementation

from . import images
from .facts import DatasetOptions, facts


class Pair(NamedTuple):
    """One image and what belongs to it.

    Attributes:
        key: ``split/name``, unique in the data set.
        image: the picture.
        label: the label file; None in a split whose labels are not public.
        instances: the file that tells instances apart, where there is one.
    """

    key: str
    image: Path
    label: Path | None
    instances: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that must be there to train or to score."""
        return (self.image,) if self.label is None else (self.image, self.label)


@dataclass(frozen=True)
class Finding:
    """One thing that a look at a data set found.

    Attributes:
        level: ``ok`` as it should be, ``note`` worth knowing, ``fault`` must be mended before a figure can be trusted.
        text: one sentence, with the file where it is about one.
        fix: the command that mends it, or empty.
        kind: what sort of fault; of one kind only the first few are printed.
    """

    level: Literal["ok", "note", "fault"]
    text: str
    fix: str = ""
    kind: str = ""


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
            next=f"segbench data download {name}" if options.archives else f"segbench data list {name}",
        )
    return folder


def pairs(name: str, folder: Path, split: str) -> list[Pair]:
    """The pairs of a split in their fixed order; files need not exist."""
    return _reader(name).pairs(folder, split)


def label_reader(name: str) -> Callable[[Path], np.ndarray]:
    """The function that reads this data set's label files as raw uint8 values (H, W)."""
    return getattr(_reader(name), "read_label", images.read_label)


def layout(name: str, folder: Path) -> str:
    """Which of its layouts or encodings lies there, a few words; empty where a data set has but one."""
    return _reader(name).layout(folder) if hasattr(_reader(name), "layout") else ""


def examine(name: str, folder: Path) -> list[Finding]:
    """What only this data set is asked, without reading every image."""
    return list(_reader(name).examine(folder)) if hasattr(_reader(name), "examine") else []


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
