"""Reader of PASCAL-Context, in the layouts in use.

As mmsegmentation has it (``VOCdevkit/VOC2010``): ``JPEGImages``, ``SegmentationClassContext/NAME.png`` and the lists
``ImageSets/SegmentationContext/{train,val}.txt``; segbench makes the same of the published files (``unpack``). As
ContrastiveSeg copies it: ``{train,val}/image/NAME.jpg`` with ``{train,val}/label/NAME.png``. A mask holds 0 for
background and 1..59; one file serves both class tables. Masks of 0..58 with 255 for background are read as such.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from segbench.core.errors import MissingFault
from segbench.data import images
from segbench.data.layouts import decoded, find_folder, of_folder, read_list, values_in
from segbench.data.reader import Finding, Pair, file_names

from .unpack import LISTS, MASKS, SPLITS, is_unpacked, packed, unpack_masks

_NAMES = ("pascal-context", "pascal_context", "pascalcontext", "PascalContext", "PASCALContext", "pcontext")
_INSIDE = ("VOCdevkit/VOC2010", "VOC2010")
_SHIFTED = "0..58 with 255 for background"
_LOOKUP = {255: 0, **{value: value + 1 for value in range(59)}}
_PREPARE = "segbench data prepare pascal-context"
_COUNTS = {(4996, 5104): "those of the public masks", (4998, 5105): "those that papers print"}


def locate(root: Path) -> Path | None:
    """Return the folder under the data root: one of its names, VOC 2010's if it has these masks, or the root."""
    return find_folder(
        root,
        _NAMES,
        inside=_INSIDE,
        holds=lambda folder: _is_voc(folder) or _is_copied(folder),
        itself=lambda folder: _is_voc(folder) and (folder / "JPEGImages").is_dir(),
    )


def pairs(folder: Path, split: str) -> list[Pair]:
    """Return all pairs of a split, sorted by name, incomplete ones too.

    Raises:
        MissingFault: the masks are not unpacked yet, or there is no list of the split.
    """
    if _is_copied(folder):
        image, label = folder / split / "image", folder / split / "label"
        stems = {Path(name).stem for name in file_names(image, ".jpg") | file_names(label, ".png")}
        return [Pair(f"{split}/{stem}", image / f"{stem}.jpg", label / f"{stem}.png") for stem in sorted(stems)]
    names = read_list(folder / LISTS / f"{split}.txt")
    if not names and (source := packed(folder)):
        raise MissingFault(f"The masks of {folder} are still packed in {source}.", next=_PREPARE)
    if not names and (folder / MASKS).is_dir():
        wanted = folder / LISTS / f"{split}.txt"
        raise MissingFault(f"{wanted} is missing or empty, and only it says which masks are {split}.", next=_PREPARE)
    return [
        Pair(f"{split}/{name}", folder / "JPEGImages" / f"{name}.jpg", folder / MASKS / f"{name}.png") for name in names
    ]


def read_label(path: Path) -> np.ndarray:
    """Return the values 0..59 of a mask as uint8 (H, W), whatever the encoding of its folder.

    Raises:
        BrokenFile: missing, cut off, damaged, no PNG of indices, or with a value that is not valid in its encoding.
    """
    values = images.read_indices(path)
    if _is_shifted(path.parent):
        return decoded(path, values, lookup=_LOOKUP, encoding=_SHIFTED)
    return values


def finish(folder: Path, *, progress: Callable[[int], None] | None = None) -> None:
    """Make the masks after the archives were unpacked; does nothing if they are there.

    Args:
        folder: of the data set.
        progress: called with the number of masks done.

    Raises:
        MissingFault: the source of the masks is damaged or refused.
        RunFault: the disk is full or not writable.
    """
    if not _is_copied(folder) and not is_unpacked(folder):
        unpack_masks(folder, progress=progress)


def layout(folder: Path) -> str:
    """Return layout and encoding of the masks."""
    if _is_copied(folder):
        kind = "copied by ContrastiveSeg"
    elif is_unpacked(folder):
        kind = "as mmsegmentation has it"
    elif source := packed(folder):
        return f"masks still packed in {source}"
    else:
        return "unknown layout"
    held = dict.fromkeys(_SHIFTED if _is_shifted(place) else "0..59" for place in _mask_folders(folder))
    return f"{kind}; masks hold {' and '.join(held)}"


def examine(folder: Path) -> Iterator[Finding]:
    """Check that the masks are unpacked, their encoding, and which of the two counts of images this is."""
    if not _is_copied(folder) and not is_unpacked(folder):
        if source := packed(folder):
            text = f"The masks of {folder} are still packed in {source}."
            yield Finding("fault", text, _PREPARE, "packed")
        return
    for place in _mask_folders(folder):
        held = _SHIFTED if _is_shifted(place) else "0 for background and 1..59"
        yield Finding("note" if _is_shifted(place) else "ok", f"the masks of {place} hold {held}", kind="encoding")
    counts = tuple(len(pairs(folder, split)) for split in SPLITS)
    if counts in _COUNTS:
        text = f"{counts[0]:,} and {counts[1]:,} images are {_COUNTS[counts]}"
        yield Finding("note", text, kind="counts")


@of_folder
def _is_shifted(place: Path) -> bool:
    """Return True if the masks of a folder hold 0..58 and 255."""
    seen = values_in([place / name for name in sorted(file_names(place, ".png"))], images.read_indices)
    return 255 in seen and 59 not in seen


def _mask_folders(folder: Path) -> list[Path]:
    return [folder / split / "label" for split in SPLITS] if _is_copied(folder) else [folder / MASKS]


def _is_voc(folder: Path) -> bool:
    return (folder / MASKS).is_dir() or packed(folder) is not None


def _is_copied(folder: Path) -> bool:
    return any((folder / split / "label").is_dir() for split in SPLITS)
