"""Conversion of PASCAL-Context's published masks to PNG files.

Each becomes a grey PNG in ``SegmentationClassContext``, and the lists ``ImageSets/SegmentationContext/{train,val}.txt``
are written last: the layout of mmsegmentation. Files are written atomically, so an interrupted conversion resumes.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from segbench.core import atomic
from segbench.core.errors import MissingFault
from segbench.data.images import read_mat
from segbench.data.layouts import read_list
from segbench.data.reader import file_names

from . import detail, masks
from .ids import to_values

MASKS = "SegmentationClassContext"
LISTS = "ImageSets/SegmentationContext"
SPLITS = ("train", "val")
_MAIN = "ImageSets/Main"
_MERGED, _ORIGINAL = "trainval_merged.json", "trainval"
_FIX = "segbench data download pascal-context --replace"

Source = Literal["train.pth and val.pth", "trainval_merged.json", "trainval/*.mat"]
Item = tuple[str, str, Callable[[], np.ndarray]]  # split, name, and function that reads or draws the mask


def packed(folder: Path) -> Source | None:
    """Return the first available source of the masks; None if there is none."""
    if all((folder / f"{split}.pth").is_file() for split in SPLITS):
        return "train.pth and val.pth"
    if (folder / _MERGED).is_file():
        return "trainval_merged.json"
    return "trainval/*.mat" if file_names(folder / _ORIGINAL, ".mat") else None


def is_unpacked(folder: Path) -> bool:
    """Return True if both lists are there, which are written after all masks."""
    return all((folder / LISTS / f"{split}.txt").is_file() for split in SPLITS)


def unpack_masks(folder: Path, *, progress: Callable[[int], None] | None = None) -> int:
    """Write masks and lists; does nothing if both lists are there.

    Args:
        folder: folder of the data set, with a published form of the masks.
        progress: called with the number of masks done.

    Returns:
        Number of masks written.

    Raises:
        MissingFault: the source of the masks is damaged, refused or missing.
        RunFault: the disk is full or not writable.
    """
    if is_unpacked(folder):
        return 0
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    written = 0
    for done, (split, name, mask) in enumerate(_items(folder), start=1):
        path = folder / MASKS / f"{name}.png"
        if not path.is_file():
            atomic.write_bytes(path, cv2.imencode(".png", mask())[1].tobytes())
            written += 1
        names[split].append(name)
        if progress is not None:
            progress(done)
    for split, found in names.items():
        atomic.write_text(folder / LISTS / f"{split}.txt", "".join(f"{name}\n" for name in sorted(found)))
    return written


def _items(folder: Path) -> Iterator[Item]:
    source = packed(folder)
    if source == "train.pth and val.pth":
        for split in SPLITS:
            for name, mask in masks.read_masks(folder / f"{split}.pth"):
                yield split, name, partial(np.asarray, mask)
    elif source == "trainval_merged.json":
        yield from detail.read_masks(folder / _MERGED)
    elif source == "trainval/*.mat":
        yield from _original(folder)
    else:
        raise MissingFault(
            f"{folder} has nothing that masks could be made of: no train.pth with val.pth, no {_MERGED} and no "
            f"{_ORIGINAL}/*.mat.",
            next="segbench data download pascal-context",
        )


def _original(folder: Path) -> Iterator[Item]:
    """Yield the .mat files, split as VOC 2010 splits its images: the two sets have the same counts (an inference)."""
    present = {Path(name).stem for name in file_names(folder / _ORIGINAL, ".mat")}
    for split in SPLITS:
        path = folder / _MAIN / f"{split}.txt"
        listed = read_list(path)
        if not listed:
            raise MissingFault(f"{path} is missing or empty, and only it says which .mat files are {split}.", next=_FIX)
        for name in listed:
            if name in present:
                yield split, name, partial(_of_mat, folder / _ORIGINAL / f"{name}.mat")


def _of_mat(path: Path) -> np.ndarray:
    try:
        return to_values(read_mat(path, "LabelMap"))
    except ValueError as error:
        raise MissingFault(f"{path}: {error}.", next=_FIX) from None
