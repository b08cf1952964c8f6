"""A tiny COCO-Stuff 10k v1.1 in the exact form of its archive: .mat files as MATLAB's ``save -struct`` writes them."""

import io
from functools import cache
from pathlib import Path

import numpy as np
from scipy.io import savemat

from segbench.data.facts import DatasetOptions
from segbench.data.sets.coco_stuff_10k.options import Options

from .ade20k import jpeg
from .packing import Members, without_checksums, write_unpacked, write_zip

COUNTS = {"train": 4, "test": 2}
ARCHIVE = "cocostuff-10k-v1.1.zip"
# Things of COCO 2015 that have no segmentation; every other id of 1..182 occurs.
NEVER = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
IDS = tuple(value for value in range(1, 183) if value not in NEVER)


def tiny_options() -> DatasetOptions:
    """COCO-Stuff 10k's facts with the counts of the tiny archive."""
    return without_checksums(Options(splits={split: (count,) for split, count in COUNTS.items()}, size_bytes=1_000_000))


def write_archives(folder: Path) -> dict[str, Path]:
    """The zip."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: write_zip(folder / name, members) for name, members in archives().items()}


def write_tree(folder: Path) -> Path:
    """The data set's folder as segbench unpacks it."""
    return write_unpacked(folder, tiny_options(), archives())


def name_of(split: str, index: int) -> str:
    """As COCO names its images; numbers of both splits alternate."""
    return f"COCO_train2014_{77 + 10 * index + (split == 'test'):012d}"


@cache
def arrays(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) RGB and label uint8 (H, W): 0 and every id that occurs; sizes differ."""
    size = (40 + 2 * index, 61 - 3 * index)
    rng = np.random.default_rng([171, len(split), index])
    image = np.clip(rng.normal(128, 9, (*size, 3)), 0, 255).astype(np.uint8)
    label = rng.choice(np.array([0, *IDS], np.uint8), size)
    label.flat[:172] = [0, *IDS]
    return image, label


@cache
def archives() -> dict[str, Members]:
    """Archive name to all of its members."""
    members: Members = {"cocostuff-labels.txt": b"0: unlabeled\n", "cocostuff-readme.txt": b"not wanted"}
    names = {split: [name_of(split, index) for index in range(count)] for split, count in COUNTS.items()}
    for split, listed in (*names.items(), ("all", sorted(name for part in names.values() for name in part))):
        members[f"imageLists/{split}.txt"] = "".join(f"{name}\n" for name in listed).encode()
    for split, listed in names.items():
        for index, name in enumerate(listed):
            image, label = arrays(split, index)
            members[f"images/{name}.jpg"] = jpeg(image)
            members[f"annotations/{name}.mat"] = mat(label)
    return {ARCHIVE: members}


def mat(label: np.ndarray, *, names: int = 182) -> bytes:
    """A .mat file: S is of doubles, as MATLAB's index arithmetic leaves it. Version 1.0 has a row of 172 names."""
    listed = np.array([f"class {number}" for number in range(1, names + 1)], object)
    if names == 172:
        listed[0] = "unlabeled"
    regions = (np.arange(label.size).reshape(label.shape) // 40 + 1).astype(np.float64)
    stream = io.BytesIO()
    fields = {
        "S": label.astype(np.float64),
        "names": listed[None] if names == 172 else listed[:, None],
        "captions": np.array([["A street."], ["Two dogs."]], object),
        "regionMapStuff": regions,
        "regionLabelsStuff": np.zeros((int(regions.max()), 1)),
    }
    savemat(stream, fields, do_compression=True)
    data = bytearray(stream.getvalue())
    text = b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Thu Apr  6 12:00:00 2017"
    data[:116] = text.ljust(116)  # the time of writing stands there
    return bytes(data)
