"""Reader of GTA5, in the layouts in use.

As its archives have it: ``images/NNNNN.png`` with ``labels/NNNNN.png``. Or with folders ``train`` and ``val`` below
both, which users of SemiSeg-Contrastive fill as they like: they do not define splits. ``trainvaltest`` is every frame;
``train``, ``val`` and ``test`` are those of ``split.mat`` in read_mapping.zip.

A label with a palette holds Cityscapes ids as indices. A grey one may hold them too, or train ids with 250
(SemiSeg-Contrastive converts the files in place) or 255 for ignored pixels, as ``NNNNN_labelTrainIds.png`` of
DAFormer's converter does, which is only read if the label itself is missing.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from segbench.data import images, truncation
from segbench.data.classes import IGNORE, class_table
from segbench.data.images import BrokenFile
from segbench.data.layouts import decoded, find_folder, of_folder, spread, values_in
from segbench.data.prepared.headers import header_size
from segbench.data.reader import Finding, Pair, file_names

from . import left_out

_NAMES = ("gta5", "GTA5", "gta", "GTA", "gtav", "GTAV")
_SUBFOLDERS = ("train", "val", "test")
_EVERYTHING = "trainvaltest"
_SPLIT_FILES = ("split.mat", "read_mapping/split.mat")
_SUFFIX = "_labelTrainIds"
_TRANSLATED = 250  # SemiSeg-Contrastive's value of ignored pixels
_TRAIN_IDS = "train ids 0..18 with 250 or 255 for what is ignored"
_FRAMES = 24_966
_HEADERS = 256  # label files whose header is read
_FIX = "segbench data download gta5 --replace"
# Frames missing in some copies: github.com/bupt-ai-cz/IAST-ECCV2020/issues/2, which gives no reason.
_OFTEN_MISSING = (*range(2154, 2159), *range(4634, 4638), *range(7115, 7120), *range(9683, 9689), *range(12050, 12055))

Kind = Literal["palette", "grey", "colour", "train ids"]
_KINDS: dict[int, Kind] = {0: "grey", 3: "palette"}  # PNG specification, table 11.1
_ENCODINGS: dict[Kind, str] = {
    "palette": "Cityscapes ids with a palette, as published",
    "grey": "Cityscapes ids without their palette",
    "train ids": "train ids (labelTrainIds.png)",
    "colour": "colours",
}
_BY_COLOUR = ", translated in place by SemiSeg-Contrastive: licence plates count as cars, polegroups as poles"


def locate(root: Path) -> Path | None:
    """Return the folder under the data root: one of its names, or the root itself."""
    return find_folder(
        root,
        _NAMES,
        holds=lambda folder: (folder / "images").is_dir() and (folder / "labels").is_dir(),
        itself=lambda folder: (folder / "labels").is_dir() and any((folder / name).is_file() for name in _SPLIT_FILES),
    )


def pairs(folder: Path, split: str) -> list[Pair]:
    """Return all pairs of a split, sorted by number, incomplete ones too.

    Without split.mat only ``trainvaltest`` has any.

    Raises:
        BrokenFile: split.mat cannot be read.
    """
    places = [Path(name) for name in _SUBFOLDERS if (folder / "images" / name).is_dir()] or [Path()]
    there: dict[str, Pair] = {}
    for place in places:
        there |= _frames(folder / "images" / place, folder / "labels" / place)
    if split == _EVERYTHING:
        names = sorted(there)
    else:
        path = _split_file(folder)
        if path is None:
            return []
        names = _listed(path, split)
    images_folder, labels_folder = folder / "images" / places[0], folder / "labels" / places[0]
    for name in names:
        there.setdefault(name, Pair("", images_folder / f"{name}.png", labels_folder / f"{name}.png"))
    return [there[name]._replace(key=f"{split}/{name}") for name in names]


def read_label(path: Path) -> np.ndarray:
    """Return the Cityscapes ids 0..34 of a file as uint8 (H, W); ignored pixels of a file of train ids become 0.

    A label that differs in size from its image is read as 0 everywhere, in the size of the image.

    Raises:
        BrokenFile: missing, cut off, damaged, of colours, or with a value that is not valid in its encoding.
    """
    values = images.read_indices(path)
    if path.stem.endswith(_SUFFIX) or (_kind(path) == "grey" and _of_train_ids(_grey_values(path.parent), values)):
        values = decoded(path, values, lookup=_ids(), encoding=_TRAIN_IDS)
    size = header_size(left_out.image_of(path))
    return values if size is None or size == values.shape else np.zeros(size, np.uint8)


def layout(folder: Path) -> str:
    """Return layout and encoding of the labels."""
    kind = "folders train and val" if (folder / "images" / "train").is_dir() else "as unpacked"
    split = "with split.mat" if _split_file(folder) else "without split.mat"
    return f"{kind}, {split}; labels are {' and '.join(_encodings(folder)) or 'not there'}"


def examine(folder: Path) -> Iterator[Finding]:
    """Check the encoding of the labels, pairs that differ in size, and frames known to be missing in some copies."""
    for text in _encodings(folder):
        level: Literal["ok", "note"] = "ok" if text == _ENCODINGS["palette"] else "note"
        if text == _ENCODINGS["colour"]:
            text = f"{folder / 'labels'} holds pictures of colours, of which several classes have the same."
            yield Finding("fault", text, _FIX, "encoding")
        else:
            yield Finding(level, f"labels are {text}", kind="encoding")
    if _split_file(folder) is None:
        text = "split.mat is not here, which alone says what is train, val and test; all frames are trainvaltest"
        yield Finding("note", text, "segbench data download gta5 --split train", "split")
    listed = pairs(folder, _EVERYTHING)
    yield from left_out.findings(folder, listed)
    numbers = {int(pair.image.stem) for pair in listed if pair.image.stem.isdigit()}
    if len(numbers) > _FRAMES // 2 and not numbers & set(_OFTEN_MISSING):
        text = f"{len(_OFTEN_MISSING)} frames are missing that other copies lack too, 02154 for one; they are published"
        yield Finding("note", text, _FIX, "known missing")


def _listed(path: Path, split: str) -> list[str]:
    """Return the names of a split's frames in split.mat, whose variables are trainIds, valIds and testIds."""
    numbers = np.unique(images.read_mat(path, f"{split}Ids"))
    if not all(0 < number <= _FRAMES and number == int(number) for number in numbers.tolist()):
        raise BrokenFile(path, f"holds numbers at {split}Ids that are none of frames")
    return [f"{int(number):05d}" for number in numbers.tolist()]


def _split_file(folder: Path) -> Path | None:
    return next((folder / name for name in _SPLIT_FILES if (folder / name).is_file()), None)


def _frames(images_folder: Path, labels_folder: Path) -> dict[str, Pair]:
    """Return the pair of every frame of two folders by name, without keys."""
    labels = {Path(name).stem for name in file_names(labels_folder, ".png")}
    stems = {stem.removesuffix(_SUFFIX) for stem in labels}
    stems |= {Path(name).stem for name in file_names(images_folder, ".png")}
    found = {}
    for stem in stems:
        converted = stem not in labels and f"{stem}{_SUFFIX}" in labels
        label = f"{stem}{_SUFFIX if converted else ''}.png"
        found[stem] = Pair("", images_folder / f"{stem}.png", labels_folder / label)
    return found


def _kind(path: Path) -> Kind | None:
    """Return the kind of a label file by its header; None if it is not a PNG."""
    try:
        with path.open("rb") as file:
            data = file.read(26)
    except OSError:
        return None
    return _KINDS.get(data[25], "colour") if data.startswith(truncation.PNG) and len(data) == 26 else None


@of_folder
def _grey_values(labels: Path) -> frozenset[int]:
    """Return the values in the grey label files of a folder."""
    paths = [labels / name for name in sorted(file_names(labels, ".png")) if not Path(name).stem.endswith(_SUFFIX)]
    return values_in([path for path in spread(paths, _HEADERS) if _kind(path) == "grey"], images.read_indices)


def _of_train_ids(seen: frozenset[int], values: np.ndarray) -> bool:
    """Return True if grey files hold train ids: files of ids have values above 18, vegetation and sky."""
    known = seen or frozenset(np.unique(values).tolist())
    return not any(18 < value < _TRANSLATED for value in known)


def _ids() -> dict[int, int]:
    """Return the Cityscapes id of each train id, 0 for ignored ones."""
    ids = {train_id: value for value, train_id in class_table("gta5").values if train_id != IGNORE}
    return ids | {_TRANSLATED: 0, IGNORE: 0}


def _encodings(folder: Path) -> list[str]:
    """Return the encodings of the labels, most frequent first."""
    labels = [pair.label for pair in pairs(folder, _EVERYTHING) if pair.label is not None]
    kinds: Counter[str] = Counter()
    for path in spread(labels, _HEADERS):
        kind = "train ids" if path.stem.endswith(_SUFFIX) else _kind(path)
        if kind == "grey" and _of_train_ids(seen := _grey_values(path.parent), np.zeros(1, np.uint8)):
            kinds["train ids without a palette" + (_BY_COLOUR if _TRANSLATED in seen else "")] += 1
        elif kind is not None:
            kinds[_ENCODINGS[kind]] += 1
    return [text for text, _ in kinds.most_common()]
