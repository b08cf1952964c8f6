"""A tiny PASCAL-Context in the exact forms it is published in: VOC 2010's tar, the ready masks as torch.save wrote
them before version 1.6 (and since), the original .mat files with 459 ids, and the merged file of PASCAL in Detail."""

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from segbench.data.facts import DatasetOptions
from segbench.data.sets.pascal_context.options import Options

from .ade20k import jpeg
from .packing import Members, without_checksums, write_tar, write_unpacked

COUNTS = {"train": 3, "val": 2}
IMAGES, ORIGINAL, MERGED = "VOCtrainval_03-May-2010.tar", "trainval.tar.gz", "trainval_merged.json"
# 459-id of the classes 1..59 in order; written down here once more from the published table.
ID_OF = [
    0, 2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
]  # fmt: skip
OTHER_IDS = (1, 3, 100, 457, 459)  # of the classes that are background here


def tiny_options() -> DatasetOptions:
    """PASCAL-Context's facts with the counts of the tiny archives."""
    return without_checksums(Options(splits={split: (count,) for split, count in COUNTS.items()}, size_bytes=1_000_000))


def write_archives(folder: Path) -> dict[str, Path]:
    """The tar of the images, both files of ready masks, the tar of the original masks, and the merged file."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {IMAGES: write_tar(folder / IMAGES, images()), ORIGINAL: write_tar(folder / ORIGINAL, original())}
    for name, data in {**{f"{split}.pth": ready(split) for split in COUNTS}, MERGED: merged()}.items():
        (folder / name).write_bytes(data)
        written[name] = folder / name
    return written


def write_tree(folder: Path) -> Path:
    """The data set's folder as segbench unpacks it, before the masks are made."""
    files = {f"{split}.pth": {f"{split}.pth": ready(split)} for split in COUNTS}
    return write_unpacked(folder, tiny_options(), {IMAGES: images(), **files})


def name_of(split: str, index: int) -> str:
    """``2008_000123``; the numbers of both splits alternate."""
    return f"{2008 + index}_{123 + (split == 'val'):06d}"


@cache
def arrays(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) RGB and mask uint8 (H, W) with values 0..59, all of them present; sizes differ."""
    size = (40 + index, 60 - 3 * index)
    rng = np.random.default_rng([59, len(split), index])
    image = np.clip(rng.normal(120, 9, (*size, 3)), 0, 255).astype(np.uint8)
    mask = np.repeat(rng.integers(0, 60, (size[0], 10), dtype=np.uint8), 6, axis=1)[:, : size[1]].copy()
    mask.flat[:60] = np.arange(60)
    return image, mask


@cache
def images() -> Members:
    """VOC 2010's tar: images that are wanted, one that no list names, lists, and what nobody wants."""
    root = "VOCdevkit/VOC2010"
    members: Members = {f"{root}/Annotations/2008_000123.xml": b"<annotation/>"}
    for split, count in COUNTS.items():
        names = [name_of(split, index) for index in range(count)]
        members[f"{root}/ImageSets/Main/{split}.txt"] = "".join(f"{name}\n" for name in names).encode()
        members[f"{root}/ImageSets/Main/cat_{split}.txt"] = "".join(f"{name} -1\n" for name in names).encode()
        for index, name in enumerate(names):
            members[f"{root}/JPEGImages/{name}.jpg"] = jpeg(arrays(split, index)[0])
            members[f"{root}/SegmentationClass/{name}.png"] = b"not wanted"
    members[f"{root}/JPEGImages/2007_000027.jpg"] = jpeg(arrays("train", 0)[0])  # of another task
    return members


def masks(split: str) -> dict[int, Image.Image]:
    """What the ready file of a split holds."""
    return {
        int(name_of(split, index).replace("_", "")): Image.fromarray(arrays(split, index)[1])
        for index in reversed(range(COUNTS[split]))
    }


def ready(split: str, *, as_zip: bool = False) -> bytes:
    """``train.pth`` or ``val.pth``, as torch.save wrote them then, or as a zip."""
    stream = io.BytesIO()
    torch.save(masks(split), stream, _use_new_zipfile_serialization=as_zip)
    return stream.getvalue()


def ids(split: str, index: int) -> np.ndarray:
    """The original mask, uint16 (H, W): the id of each class, and various other ids where it is background."""
    mask = arrays(split, index)[1]
    found = np.array(ID_OF, np.uint16)[mask]
    rows, columns = np.nonzero(mask == 0)
    found[rows, columns] = np.resize(np.array([0, *OTHER_IDS], np.uint16), rows.size)
    return found


@cache
def original() -> Members:
    """The tar of .mat files with the variable LabelMap."""
    members: Members = {}
    for split, count in COUNTS.items():
        for index in range(count):
            stream = io.BytesIO()
            savemat(stream, {"LabelMap": ids(split, index)}, do_compression=True)
            members[f"trainval/{name_of(split, index)}.mat"] = stream.getvalue()
    return members


@cache
def merged() -> bytes:
    """``trainval_merged.json``: images with their phase, and a region for every class of an image."""
    found, regions = [], []
    for split, count in COUNTS.items():
        for index in range(count):
            mask, name = arrays(split, index)[1], name_of(split, index)
            image_id = int(name.replace("_", ""))
            found.append(
                {"image_id": image_id, "file_name": f"{name}.jpg", "phase": split, "height": mask.shape[0],
                 "width": mask.shape[1], "date_captured": "31-Oct-2007"}
            )  # fmt: skip
            for value in np.unique(mask[mask > 0]).tolist():
                segmentation = {"size": list(mask.shape), "counts": run_lengths(mask == value)}
                regions.append(
                    {"id": len(regions), "image_id": image_id, "category_id": ID_OF[value], "iscrowd": 0,
                     "segmentation": segmentation}
                )  # fmt: skip
    found.append({"image_id": 2008000001, "file_name": "2008_000001.jpg", "phase": "test", "height": 4, "width": 4})
    data = {"info": {}, "images": found, "annos_segmentation": regions, "annos_occlusion": [], "annos_boundary": [],
            "categories": [], "parts": []}  # fmt: skip
    return json.dumps(data).encode()


def run_lengths(region: np.ndarray) -> str:
    """COCO's compressed run-length code of a mask, bool (H, W): common/maskApi.c of COCO's mask API, rleToString."""
    flat = region.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(np.int8)))
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    text = ""
    for place, run in enumerate(runs):
        rest, more = run - (runs[place - 2] if place > 2 else 0), True
        while more:
            digit, rest = rest & 31, rest >> 5
            more = rest != (-1 if digit & 16 else 0)
            text += chr(48 + digit + 32 * more)
    return text
