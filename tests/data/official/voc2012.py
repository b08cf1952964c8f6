"""A tiny PASCAL VOC 2012 with SBD in the exact form of their archives: palettes, borders, nested MATLAB structs."""

import io
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from segbench.data.classes import class_table
from segbench.data.facts import DatasetOptions
from segbench.data.sets.voc2012.options import Options

from .packing import Members, without_checksums, write_tar, write_unpacked, write_zip

TRAIN = ("2007_000032", "2007_000039", "2008_000008", "2011_003276")
VAL = ("2007_000033", "2008_000073", "2010_000003")
TEST = ("2008_000006", "2012_000002")
SBD_TRAIN = ("2008_000002", "2008_000008", "2008_000073", "2009_000001", "2010_000009")  # one of TRAIN, one of VAL
SBD_VAL = ("2008_000003", "2010_000003", "2011_003276")  # one of VAL, one of TRAIN
ADDED = ("2008_000002", "2008_000003", "2009_000001", "2010_000009")  # of neither
TRAINAUG = tuple(sorted(TRAIN + ADDED))
VOC, SBD, AUG, SERVER = "VOCtrainval_11-May-2012.tar", "benchmark.tgz", "SegmentationClassAug.zip", "VOC2012test.tar"
_ROOT = "VOCdevkit/VOC2012"


def tiny_options() -> DatasetOptions:
    """VOC's facts with the counts of the tiny archives."""
    lists = {"train": TRAIN, "val": VAL, "trainaug": TRAINAUG, "test": TEST}
    splits = {split: (len(names),) for split, names in lists.items()}
    return without_checksums(Options(splits=splits, size_bytes=1_000_000))


def write_archives(folder: Path) -> dict[str, Path]:
    """VOC's two tars, SBD's tgz and the zip of SegmentationClassAug, which people fetch by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        name: (write_zip if name == AUG else write_tar)(folder / name, members) for name, members in archives().items()
    }


def write_tree(folder: Path) -> Path:
    """The data set's folder as segbench unpacks it."""
    return write_unpacked(folder, tiny_options(), {name: archives()[name] for name in (VOC, SBD, SERVER)})


@cache
def arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) RGB before it is compressed, and class indices uint8 (H, W) without borders."""
    rng = np.random.default_rng(list(name.encode()))
    height, width = int(rng.integers(34, 50)), int(rng.integers(37, 55))
    grid = rng.integers(0, 21, (10, 11), dtype=np.uint8)
    grid.flat[20:41] = np.arange(21)
    label = grid.repeat(5, axis=0).repeat(5, axis=1)[:height, :width]
    image = class_table("voc2012").palette()[label].astype(np.int16) + rng.integers(-10, 11, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), np.ascontiguousarray(label)


def bordered(name: str) -> np.ndarray:
    """VOC's own labels: as those of ``arrays``, with 255 where classes meet."""
    label = arrays(name)[1].copy()
    differs = np.zeros(label.shape, bool)
    differs[1:] |= label[1:] != label[:-1]
    differs[:, 1:] |= label[:, 1:] != label[:, :-1]
    label[differs] = 255
    return label


@cache
def archives() -> dict[str, Members]:
    """Archive name to all of its members, those that nobody wants included."""
    voc = _lists(f"{_ROOT}/ImageSets/Segmentation", {"train": TRAIN, "val": VAL, "trainval": sorted(TRAIN + VAL)})
    voc |= _lists(f"{_ROOT}/ImageSets/Main", {"train": TRAIN})
    for name in sorted({*TRAIN, *VAL, *SBD_TRAIN, *SBD_VAL}):
        voc[f"{_ROOT}/JPEGImages/{name}.jpg"] = jpeg(arrays(name)[0])
        voc[f"{_ROOT}/Annotations/{name}.xml"] = b"<annotation/>\n"
    for name in TRAIN + VAL:
        for kind in ("SegmentationClass", "SegmentationObject"):
            voc[f"{_ROOT}/{kind}/{name}.png"] = palette_png(bordered(name))
    sbd = _lists("benchmark_RELEASE/dataset", {"train": SBD_TRAIN, "val": SBD_VAL})
    sbd["benchmark_RELEASE/BharathICCV2011.pdf"] = b"%PDF"
    for name in SBD_TRAIN + SBD_VAL:
        sbd[f"benchmark_RELEASE/dataset/cls/{name}.mat"] = sbd_mat(arrays(name)[1])
        sbd[f"benchmark_RELEASE/dataset/img/{name}.jpg"] = jpeg(arrays(name)[0])
    everything = sorted({*TRAINAUG, *VAL})
    aug = {f"{AUG.removesuffix('.zip')}/{name}.png": palette_png(arrays(name)[1]) for name in everything}
    server = _lists(f"{_ROOT}/ImageSets/Segmentation", {"test": TEST})
    server |= {f"{_ROOT}/JPEGImages/{name}.jpg": jpeg(arrays(name)[0]) for name in TEST}
    return {VOC: voc, SBD: sbd, AUG: aug, SERVER: server}


def jpeg(image: np.ndarray) -> bytes:
    """JPEG bytes of an RGB image."""
    return cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()


def palette_png(label: np.ndarray, *, bits: int = 8) -> bytes:
    """Palette PNG of class indices, with VOC's colours."""
    picture = Image.fromarray(label, "P")
    picture.putpalette(class_table("voc2012").palette().tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG", bits=bits)
    return stream.getvalue()


def sbd_mat(label: np.ndarray, *, compressed: bool = True) -> bytes:
    """An SBD file: the struct ``GTcls`` with boundaries as sparse matrices, the labels, and the classes there are."""
    boundaries = np.empty((20, 1), object)
    for index in range(20):
        boundaries[index, 0] = csc_matrix(label == index + 1)
    present = np.unique(label[(label > 0) & (label < 255)]).reshape(-1, 1)
    fields = {"Boundaries": boundaries, "Segmentation": label, "CategoriesPresent": present}
    stream = io.BytesIO()
    savemat(stream, {"GTcls": fields}, do_compression=compressed)
    return stream.getvalue()


def _lists(folder: str, names: dict[str, tuple[str, ...] | list[str]]) -> Members:
    return {f"{folder}/{split}.txt": "".join(f"{name}\n" for name in found).encode() for split, found in names.items()}
