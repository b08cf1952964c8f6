"""Reader of Cityscapes, in the layouts in use.

``leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png`` with ``gtFine/SPLIT/CITY/..._gtFine_labelIds.png`` and
``..._gtFine_instanceIds.png``, as both archives unpack into one folder; or each below a folder named after its
archive (``leftImg8bit_trainvaltest/leftImg8bit``). Where cityscapesScripts or mmsegmentation have written
``labelTrainIds.png`` too, the label ids are read; where only train ids exist, they are converted back to ids.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import yaml

from segbench.data.images import BrokenFile
from segbench.data.images import read_label as read_grey
from segbench.data.reader import Finding, Pair, file_names

from .labels import train_id_to_id

_CITIES = Path(__file__).with_name("cities.yaml")
_NAMES = ("cityscapes", "Cityscapes", "CityScapes")
_IMAGE, _IDS, _TRAIN_IDS, _INSTANCES = (
    "_leftImg8bit.png",
    "_gtFine_labelIds.png",
    "_gtFine_labelTrainIds.png",
    "_gtFine_instanceIds.png",
)
_LABELLED = ("train", "val")
_SHOWN = 5
_FIX = "segbench data download cityscapes"


def locate(root: Path) -> Path | None:
    """Return the folder under the data root: one of its names, or the root itself."""
    named = [root / name for name in _NAMES]
    for folder in (*named, root):
        if _tree(folder, "leftImg8bit").is_dir() or _tree(folder, "gtFine").is_dir():
            return folder
    return next((folder for folder in named if folder.is_dir()), None)


def pairs(folder: Path, split: str) -> list[Pair]:
    """Return all pairs of a split, sorted by city, sequence and frame, incomplete ones too.

    The label files of ``test`` are dummies and never used.
    """
    return [pair for city in _cities(folder, split) for pair in _of_city(folder, split, city)]


def read_label(path: Path) -> np.ndarray:
    """Return the label ids 0..33 of a file as uint8 (H, W); ignored pixels of a file of train ids become id 0.

    Raises:
        BrokenFile: missing, cut off, damaged, not a grey 8-bit image, or with invalid train ids.
    """
    values = read_grey(path)
    if not path.name.endswith(_TRAIN_IDS):
        return values
    wrong = np.unique(values[(values > 18) & (values < 255)]).tolist()
    if wrong:
        raise BrokenFile(path, f"has train ids {', '.join(map(str, wrong))}; allowed are 0..18 and 255")
    return train_id_to_id()[values]


def layout(folder: Path) -> str:
    """Return ``as unpacked`` or ``each archive in its own folder``, and the encoding of the labels."""
    nested = any(_tree(folder, kind).parent != folder for kind in ("leftImg8bit", "gtFine"))
    labels = [pair.label for split in _LABELLED for pair in pairs(folder, split) if pair.label is not None]
    of_train_ids = sum(path.name.endswith(_TRAIN_IDS) for path in labels)
    if of_train_ids in (0, len(labels)):
        kind = "train ids (labelTrainIds.png), read back as ids" if of_train_ids else "label ids"
    else:
        kind = f"label ids, {of_train_ids:,} of {len(labels):,} from labelTrainIds.png"
    return f"{'each archive in its own folder' if nested else 'as unpacked'}; labels are {kind}"


def examine(folder: Path) -> Iterator[Finding]:
    """Check cities and their numbers of images against the official lists, incomplete pairs and instance files."""
    for split, official in official_cities().items():
        listed = pairs(folder, split)
        present = dict.fromkeys(_cities(folder, split), 0)
        for pair in listed:
            present[pair.image.parent.name] += pair.image.is_file()
        if sum(present.values()) or split not in _LABELLED:
            yield from _check_cities(split, present, official)
        if split in _LABELLED and listed:
            yield from _check_halves(split, listed)


@cache
def official_cities() -> dict[str, dict[str, int]]:
    """Return the number of images by split and city."""
    return yaml.safe_load(_CITIES.read_text(encoding="utf-8"))["cities"]


def _check_cities(split: str, present: dict[str, int], official: dict[str, int]) -> Iterator[Finding]:
    homes = {city: home for home, cities in official_cities().items() for city in cities}
    for city in sorted(present.keys() - official.keys()):
        what = f"belongs to {homes[city]}" if city in homes else "is no city of Cityscapes"
        text = f"{split}/{city} with {present[city]:,} images {what}; move it out of {split}."
        yield Finding("fault", text, kind="city")
    numbers = {city: (present.get(city, 0), count) for city, count in official.items()}
    differing = [f"{city} {found:,} of {count:,}" for city, (found, count) in numbers.items() if found != count]
    if not differing:
        text = f"{split}: {len(official)} cities, each with as many images as in the official list."
        yield Finding("ok", text, kind="cities")
        return
    if len(differing) > _SHOWN:
        differing[_SHOWN:] = [f"and {len(differing) - _SHOWN} more"]
    # A different total is a fault of its own, and this note says where to look.
    level: Literal["fault", "note"] = "fault" if sum(present.values()) == sum(official.values()) else "note"
    text = f"{split}: cities with other numbers of images than in the official list: {', '.join(differing)}."
    yield Finding(level, text, _FIX, kind="cities")


def _check_halves(split: str, listed: list[Pair]) -> Iterator[Finding]:
    images = {pair.key: pair.image.is_file() for pair in listed}
    labels = {pair.key: pair.label is not None and pair.label.is_file() for pair in listed}
    bare = [key for key in images if images[key] and not labels[key]]
    orphans = [key for key in images if labels[key] and not images[key]]
    for keys, what in ((bare, "images without label in gtFine"), (orphans, "labels without image in leftImg8bit")):
        if keys:
            text = f"{split}: {what}: {len(keys):,}, the first is {keys[0]}."
            yield Finding("fault", text, _FIX, kind="halves")
    flat = sum(pair.instances is None for pair in listed)
    if flat:
        text = f"{split}: images without instanceIds.png: {flat:,} of {len(listed):,}; the iIoU needs all of them."
        yield Finding("note", text, _FIX, kind="instances")


def _of_city(folder: Path, split: str, city: str) -> list[Pair]:
    images, labels = (_tree(folder, kind) / split / city for kind in ("leftImg8bit", "gtFine"))
    files = file_names(labels, ".png") if split in _LABELLED else set()
    ends = ((_IMAGE, file_names(images, ".png")), (_IDS, files), (_TRAIN_IDS, files))
    frames = {name.removesuffix(end) for end, names in ends for name in names if name.endswith(end)}
    found = []
    for frame in sorted(frames):
        kind = _TRAIN_IDS if frame + _TRAIN_IDS in files and frame + _IDS not in files else _IDS
        label = labels / (frame + kind) if split in _LABELLED else None
        instances = labels / (frame + _INSTANCES) if frame + _INSTANCES in files else None
        found.append(Pair(f"{split}/{frame}", images / (frame + _IMAGE), label, instances))
    return found


def _cities(folder: Path, split: str) -> list[str]:
    kinds = ("leftImg8bit", "gtFine") if split in _LABELLED else ("leftImg8bit",)
    parents = [_tree(folder, kind) / split for kind in kinds]
    cities = {item.name for parent in parents if parent.is_dir() for item in parent.iterdir() if item.is_dir()}
    return sorted(city for city in cities if city[0] != ".")


def _tree(folder: Path, kind: str) -> Path:
    nested = folder / f"{kind}_trainvaltest" / kind
    return nested if nested.is_dir() and not (folder / kind).is_dir() else folder / kind
