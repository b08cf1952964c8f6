"""Reader of COCO-Stuff 10k, in the layouts in use.

As its archive has it: ``images/NAME.jpg``, ``annotations/NAME.mat`` (the label map is the variable S) and
``imageLists/{train,test}.txt``, which some copies call ``imagesLists``. As mmsegmentation converts it:
``images/{train2014,test2014}/NAME.jpg`` with ``annotations/{train2014,test2014}/NAME_labelTrainIds.png``. As
ContrastiveSeg copies it: ``{train,val}/image/NAME.jpg`` with ``{train,val}/label/NAME.png``, where val is test.
If there are .mat files, they are read.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from segbench.core.errors import MissingFault
from segbench.data import images
from segbench.data.images import BrokenFile
from segbench.data.layouts import decoded, find_folder, of_folder, read_list, values_in
from segbench.data.reader import Finding, Pair, file_names

from . import encodings
from .encodings import Encoding

_NAMES = (
    "coco-stuff-10k",
    "coco_stuff_10k",
    "coco_stuff10k",
    "cocostuff10k",
    "cocostuff-10k-v1.1",
    "COCOStuff10K",
    "COCOStuff10k",
    "cocostuff",
)
_INSIDE = ("cocostuff-10k-v1.1", "coco_stuff10k")
_SPLITS = ("train", "test")
_LISTS = ("imageLists", "imagesLists")
_CONVERTED = {"train": "train2014", "test": "test2014"}
_COPIED = {"train": "train", "test": "val"}
_SUFFIX = "_labelTrainIds"
_OLD = "is of version 1.0, which numbers its classes otherwise; version 1.1 is needed (cocostuff-10k-v1.1.zip)"
_LARGE = ("images/train2017", "annotations/train2017", "train2017", "stuffthingmaps", "stuffthingmaps_trainval2017")
_FIX = "segbench data download coco-stuff-10k --replace"


def locate(root: Path) -> Path | None:
    """Return the folder under the data root: one of its names, possibly nested, or the root itself."""
    return find_folder(
        root,
        _NAMES,
        inside=_INSIDE,
        holds=lambda folder: _layout(folder) is not None,
        itself=lambda folder: _layout(folder) in ("as unpacked", "converted by mmsegmentation"),
    )


def pairs(folder: Path, split: str) -> list[Pair]:
    """Return all pairs of a split, sorted by name, incomplete ones too.

    Raises:
        MissingFault: the lists of train and test are missing, or it is the set of 164k images.
    """
    kind = _layout(folder)
    if kind is None and (reason := _refusal(folder)):
        raise MissingFault(f"{folder} {reason}", next=_FIX)
    if kind == "as unpacked":
        return [
            Pair(f"{split}/{name}", folder / "images" / f"{name}.jpg", folder / "annotations" / f"{name}.mat")
            for name in _listed(folder, split)
        ]
    images_folder, labels_folder, suffix = _folders(folder, split)
    labels = {Path(name).stem.removesuffix(suffix) for name in file_names(labels_folder, ".png")}
    stems = {Path(name).stem for name in file_names(images_folder, ".jpg")} | labels
    return [
        Pair(f"{split}/{stem}", images_folder / f"{stem}.jpg", labels_folder / f"{stem}{suffix}.png")
        for stem in sorted(stems)
    ]


def read_label(path: Path) -> np.ndarray:
    """Return the ids 0..182 of version 1.1 of a label file as uint8 (H, W), whatever the encoding of its folder.

    Raises:
        BrokenFile: missing, cut off, damaged, of version 1.0, or in an encoding of other classes.
    """
    if path.suffix == ".mat":
        if _is_old(path.parent):
            raise BrokenFile(path, _OLD)
        return images.read_mat_label(path, "S")
    values, encoding = images.read_indices(path), _encoding(path.parent)
    if encoding in encodings.REFUSED:
        raise BrokenFile(path, f"lies among labels that are {encodings.SAYS[encoding]}")
    if encoding == "ids":
        return values
    return decoded(path, values, lookup=encodings.lookup(encoding), encoding=encodings.SAYS[encoding])


def layout(folder: Path) -> str:
    """Return layout and encoding of the labels, or the reason for refusing it."""
    kind = _layout(folder)
    if kind is None:
        return f"refused: {reason}" if (reason := _refusal(folder)) else "unknown layout"
    if kind == "as unpacked":
        old = _is_old(folder / "annotations")
        return f"{kind}; " + (f"refused: it {_OLD}" if old else f"labels are {encodings.SAYS['ids']} (.mat)")
    found = {split: _encoding(_folders(folder, split)[1]) for split in _SPLITS}
    return f"{kind}; labels are " + ", ".join(dict.fromkeys(encodings.SAYS[encoding] for encoding in found.values()))


def examine(folder: Path) -> Iterator[Finding]:
    """Check version and encoding of the labels."""
    kind = _layout(folder)
    if kind is None:
        if reason := _refusal(folder):
            yield Finding("fault", f"{folder} {reason}", _FIX, "layout")
        return
    if kind == "as unpacked":
        if _is_old(folder / "annotations"):
            yield Finding("fault", f"{folder} {_OLD}.", _FIX, "encoding")
        else:
            yield Finding("ok", f"labels are {encodings.SAYS['ids']}", kind="encoding")
        return
    for split in _SPLITS:
        place = _folders(folder, split)[1]
        encoding = _encoding(place)
        if encoding in encodings.REFUSED:
            yield Finding("fault", f"{place} holds labels that are {encodings.SAYS[encoding]}.", _FIX, "encoding")
        elif place.is_dir():
            yield Finding("ok", f"{split} labels are {encodings.SAYS[encoding]}", kind="encoding")


@of_folder
def _is_old(labels: Path) -> bool:
    return encodings.is_old(labels / name for name in sorted(file_names(labels, ".mat")))


@of_folder
def _encoding(labels: Path) -> Encoding:
    """Return the encoding of the PNG files of a folder."""
    names = sorted(file_names(labels, ".png"))
    default: Encoding = "counted" if any(Path(name).stem.endswith(_SUFFIX) for name in names) else "ids"
    return encodings.tell(values_in([labels / name for name in names], images.read_indices), default=default)


def _layout(folder: Path) -> str | None:
    annotations = folder / "annotations"
    if annotations.is_dir() and any(item.suffix == ".mat" for item in annotations.iterdir()):
        return "as unpacked"
    if any((annotations / name).is_dir() for name in _CONVERTED.values()):
        return "converted by mmsegmentation"
    if any((folder / name / "label").is_dir() for name in _COPIED.values()):
        return "copied by ContrastiveSeg"
    return None


def _folders(folder: Path, split: str) -> tuple[Path, Path, str]:
    """Return the folders of images and labels, and the suffix of label names, of a layout with PNG files."""
    if _layout(folder) == "copied by ContrastiveSeg":
        home = folder / _COPIED[split]
        # Its script writes "images" and reads "image".
        image = home / "images" if (home / "images").is_dir() else home / "image"
        return image, home / "label", ""
    name = _CONVERTED[split]
    return folder / "images" / name, folder / "annotations" / name, _SUFFIX


def _listed(folder: Path, split: str) -> list[str]:
    """Return the names of a split's images.

    Raises:
        MissingFault: there is no list.
    """
    for lists in _LISTS:
        if names := read_list(folder / lists / f"{split}.txt"):
            return [Path(name).stem for name in names]
    wanted = folder / _LISTS[0] / f"{split}.txt"
    raise MissingFault(f"{wanted} is missing or empty, and only it says which images are {split}.", next=_FIX)


def _refusal(folder: Path) -> str:
    """Return the reason why this is not COCO-Stuff 10k although it is called so, or an empty string."""
    if any((folder / path).exists() for path in _LARGE):
        return (
            "holds the set of 164k images, other ones than those of COCO-Stuff 10k: cocostuff-10k-v1.1.zip is needed."
        )
    return ""
