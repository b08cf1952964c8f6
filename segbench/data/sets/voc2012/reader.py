"""Reader of PASCAL VOC 2012 and of trainaug.

``VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}`` with SBD's ``benchmark_RELEASE/dataset``
beside ``VOCdevkit``, as the archives unpack; or with SBD in mmsegmentation's ``VOCdevkit/VOCaug/dataset``; or with
SBD's labels as PNG in ``VOC2012/SegmentationClassAug``, with or without a list of trainaug.

trainaug is VOC's train with SBD's train and val, less VOC's val. In every layout its labels are VOC's own for the
images of VOC's train and SBD's for the rest: copies of SegmentationClassAug differ in the former.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from segbench.data.images import read_indices, read_mat_label
from segbench.data.reader import Finding, Pair, file_names

_NAMES = ("voc2012", "VOC2012", "voc", "VOC")
_SBD = ("benchmark_RELEASE/dataset", "VOCdevkit/VOCaug/dataset", "VOCaug/dataset")
_AUG = "SegmentationClassAug"
_AUG_LISTS = ("trainaug", "train_aug", "aug")
# Of the sorted names, one per line: the lists of two public repositories hold the same set.
_TRAINAUG_SHA256 = "d1326bd532648d73bc4b1bd275434eba81930982dc7401a65a8cecb26c028e24"
_FIX = "segbench data download voc2012"


def locate(root: Path) -> Path | None:
    """Return the folder under the data root: one of its names, or the root itself."""
    named = [root / name for name in _NAMES]
    for folder in (*named, root):
        if _lists(folder).is_dir():
            return folder
    return next((folder for folder in named if folder.is_dir()), None)


def pairs(folder: Path, split: str) -> list[Pair]:
    """Return the pairs in the list of a split, sorted by name; files need not exist."""
    voc = _voc(folder)
    names = _trainaug(folder) if split == "trainaug" else _listed(_lists(folder) / f"{split}.txt")
    own = _listed(_lists(folder) / "train.txt") if split == "trainaug" else names
    added, ending = _added_labels(folder)
    found = []
    for name in sorted(names):
        label = voc / "SegmentationClass" / f"{name}.png" if name in own else added / f"{name}{ending}"
        found.append(Pair(f"{split}/{name}", voc / "JPEGImages" / f"{name}.jpg", None if split == "test" else label))
    return found


def read_label(path: Path) -> np.ndarray:
    """Return the class indices 0..20 and 255 of a palette PNG or SBD file (``GTcls.Segmentation``) as uint8 (H, W).

    Raises:
        BrokenFile: missing, cut off, damaged, or another kind of file.
    """
    return read_mat_label(path, "GTcls", "Segmentation") if path.suffix == ".mat" else read_indices(path)


def layout(folder: Path) -> str:
    """Return the place of VOC in the folder, and the source of the added labels of trainaug."""
    where = _voc(folder).relative_to(folder).as_posix()
    added, ending = _added_labels(folder)
    if not _trainaug(folder):
        source = "nothing to make trainaug from"
    elif ending == ".mat":
        aside = f"; {_AUG} is not used" if (_voc(folder) / _AUG).is_dir() else ""
        source = f"trainaug's added labels from {added.relative_to(folder).as_posix()}{aside}"
    else:
        source = f"trainaug's added labels from {_AUG}"
    return f"VOC in {'the folder itself' if where == '.' else where}; {source}"


def examine(folder: Path) -> Iterator[Finding]:
    """Check that the lists are there and disjoint, and that trainaug is the usual list."""
    lists = {split: _listed(_lists(folder) / f"{split}.txt") for split in ("train", "val")}
    for split, names in lists.items():
        if not names:
            yield Finding("fault", f"{_lists(folder) / f'{split}.txt'} is missing or empty.", _FIX, kind="list")
    both = sorted(lists["train"] & lists["val"])
    if both:
        yield Finding("fault", f"{len(both):,} images are in train and in val, the first is {both[0]}.", kind="list")
    trainaug = _trainaug(folder)
    if not trainaug:
        return
    listing = "".join(f"{name}\n" for name in sorted(trainaug))
    if hashlib.sha256(listing.encode()).hexdigest() == _TRAINAUG_SHA256:
        yield Finding("ok", f"trainaug: its {len(trainaug):,} names are those of the list in use.", kind="trainaug")
    else:
        text = f"trainaug: its {len(trainaug):,} names are not those of the list in use, which has 10,582."
        yield Finding("note", text, _FIX, kind="trainaug")


def _trainaug(folder: Path) -> set[str]:
    """Return the names of trainaug; empty if there is no source of it."""
    lists, sbd = _lists(folder), _sbd(folder)
    added = _listed(sbd / "train.txt") | _listed(sbd / "val.txt")
    for name in _AUG_LISTS:
        added = added or _listed(lists / f"{name}.txt")
    if not added:
        labels, ending = _added_labels(folder)
        added = {Path(name).stem for name in file_names(labels, ending)}
    return (added | _listed(lists / "train.txt")) - _listed(lists / "val.txt") if added else set()


def _added_labels(folder: Path) -> tuple[Path, str]:
    """Return folder and suffix of the labels that trainaug adds to train: SBD's own files if they are there."""
    masks = _voc(folder) / _AUG
    if masks.is_dir() and not (_sbd(folder) / "cls").is_dir():
        return masks, ".png"
    return _sbd(folder) / "cls", ".mat"


def _listed(path: Path) -> set[str]:
    """Return the names in a list file, those of the first path of each line; empty if there is no such file."""
    if not path.is_file():
        return set()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {Path(line.split()[0]).stem for line in lines if line.strip()}


def _lists(folder: Path) -> Path:
    return _voc(folder) / "ImageSets" / "Segmentation"


def _voc(folder: Path) -> Path:
    places = [folder / "VOCdevkit" / "VOC2012", folder / "VOC2012", folder]
    return next((place for place in places if (place / "ImageSets" / "Segmentation").is_dir()), places[0])


def _sbd(folder: Path) -> Path:
    places = [folder / place for place in _SBD]
    return next((place for place in places if (place / "cls").is_dir()), places[0])
