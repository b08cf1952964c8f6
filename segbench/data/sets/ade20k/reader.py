"""Reader of ADE20K (SceneParse150), in the layouts in use.

``images/training/NAME.jpg`` with ``annotations/training/NAME.png`` and ``validation`` likewise, as the archive has it
(mmsegmentation keeps it in ``ade/ADEChallengeData2016``); the same with ``train`` and ``val`` for folder names; or
``train/image`` with ``train/label``, as ContrastiveSeg copies them. The test images lie in ``release_test/testing``,
in the folder or beside it. The value 0 of a label is no class, 1..150 are classes.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from segbench.core.errors import MissingFault
from segbench.data import images
from segbench.data.layouts import find_folder
from segbench.data.reader import Finding, Pair, file_names

_NAMES = ("ade20k", "ADE20K", "ade", "ADEChallengeData2016")
_INSIDE = ("ADEChallengeData2016", "ade/ADEChallengeData2016")
_LABELLED = ("train", "val")
_LAYOUTS = {
    "as unpacked": {
        "train": ("images/training", "annotations/training"),
        "val": ("images/validation", "annotations/validation"),
    },
    "folders named train and val": {
        "train": ("images/train", "annotations/train"),
        "val": ("images/val", "annotations/val"),
    },
    "copied by ContrastiveSeg": {"train": ("train/image", "train/label"), "val": ("val/image", "val/label")},
}
_TEST = ("release_test/testing", "../release_test/testing", "images/testing")  # relative to the folder throughout
_FIX = "segbench data download ade20k --replace"


def locate(root: Path) -> Path | None:
    """Return the folder under the data root: one of its names, possibly nested, or the root itself."""
    return find_folder(
        root,
        _NAMES,
        inside=_INSIDE,
        holds=lambda folder: _layout(folder) is not None,
        itself=lambda folder: (folder / "images" / "training").is_dir(),
    )


def pairs(folder: Path, split: str) -> list[Pair]:
    """Return all pairs of a split, sorted by name, incomplete ones too; ``test`` has no labels.

    Raises:
        MissingFault: the folder holds another data set of the same family.
    """
    if reason := _refusal(folder):
        raise MissingFault(f"{folder} {reason}", next=_FIX)
    if split not in _LABELLED:
        place = _test_folder(folder)
        return [Pair(f"{split}/{Path(name).stem}", place / name, None) for name in sorted(file_names(place, ".jpg"))]
    images_folder, labels_folder = _folders(folder, split)
    stems = {Path(name).stem for name in file_names(images_folder, ".jpg") | file_names(labels_folder, ".png")}
    return [
        Pair(f"{split}/{stem}", images_folder / f"{stem}.jpg", labels_folder / f"{stem}.png") for stem in sorted(stems)
    ]


def read_label(path: Path) -> np.ndarray:
    """Return the values 0..150 of a grey or palette label file as uint8 (H, W).

    Raises:
        BrokenFile: missing, cut off, damaged, or no PNG of indices.
    """
    return images.read_indices(path)


def layout(folder: Path) -> str:
    """Return the name of the layout, or the reason for refusing it."""
    if reason := _refusal(folder):
        return f"refused: {reason}"
    test = "; with test images" if _test_folder(folder).is_dir() else ""
    return f"{_layout(folder) or 'unknown layout'}; labels are 0..150, 0 ignored{test}"


def examine(folder: Path) -> Iterator[Finding]:
    """Check that this is SceneParse150 and not another ADE20K; label values are checked when they are read."""
    if reason := _refusal(folder):
        yield Finding("fault", f"{folder} {reason}", _FIX, "layout")


def _layout(folder: Path) -> str | None:
    for name, places in _LAYOUTS.items():
        if any((folder / image).is_dir() for image, _ in places.values()):
            return name
    return None


def _folders(folder: Path, split: str) -> tuple[Path, Path]:
    image, label = _LAYOUTS[_layout(folder) or "as unpacked"][split]
    return folder / image, folder / label


def _test_folder(folder: Path) -> Path:
    return next((folder / place for place in _TEST if (folder / place).is_dir()), folder / _TEST[0])


def _refusal(folder: Path) -> str:
    """Return the reason why this is not SceneParse150 although it is called ADE20K, or an empty string.

    The files of the full ADE20K (an index of all images, a folder per kind of scene) are named from memory.
    """
    labelled = any((folder / label).is_dir() for places in _LAYOUTS.values() for _, label in places.values())
    if (folder / "annotations_instance").is_dir() and not labelled:
        return (
            "holds annotations_instance, which is the instance challenge of 2017, and no semantic annotations: "
            "ADEChallengeData2016.zip is needed."
        )
    training = folder / "images" / "training"
    scenes = training.is_dir() and any(item.is_dir() for item in islice(training.iterdir(), 16))
    indexed = any(folder.glob("index_ade20k.*")) or any(folder.glob("ADE20K_20*"))
    if scenes or (folder / "images" / "ADE").is_dir() or (indexed and not labelled):
        return (
            "holds the full ADE20K with its thousands of names, not the 150 classes of SceneParse150: "
            "ADEChallengeData2016.zip is needed."
        )
    return ""
