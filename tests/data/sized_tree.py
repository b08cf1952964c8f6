"""A data root with a CamVid of images of several sizes, and what tests of prepared splits ask of it."""

from pathlib import Path

import numpy as np

from segbench.core.spec import DataSpec
from segbench.data.dataset import SegDataset
from segbench.data.handle import find_dataset
from segbench.data.open import list_splits, open_dataset
from segbench.data.prepared.cache import Prepared, Split
from tests.data.camvid_tree import places, png

SIZES = [(24, 32), (17, 40), (30, 9), (24, 33), (51, 23), (24, 32)]


def write_root(root: Path) -> Path:
    """Six training images, hardly two of one size."""
    for folder in places(root / "camvid", "train"):
        folder.mkdir(parents=True)
    for index, size in enumerate(SIZES):
        write_pair(root, index, size)
    return root


def write_pair(root: Path, index: int, size: tuple[int, int], *, seed: int = 0) -> None:
    rng = np.random.default_rng([seed, index])
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8), rng.integers(0, 12, size, dtype=np.uint8)
    for folder, array in zip(places(root / "camvid", "train"), pixels, strict=True):
        (folder / f"a_{index:05d}.png").write_bytes(png(array))


def split_of(root: Path, **more: object) -> Split:
    (split,) = list_splits(find_dataset("camvid", root), DataSpec(name="camvid", **more))  # type: ignore[arg-type]
    return split


def streamed(root: Path, **more: object) -> SegDataset:
    return open_dataset(DataSpec(name="camvid", **more), root=root, cache="off")  # type: ignore[arg-type]


def same(one: SegDataset | Prepared, other: SegDataset) -> bool:
    pairs = [zip(one.read(index), other.read(index), strict=True) for index in range(len(other))]
    return len(one) == len(other) and all(np.array_equal(left, right) for pair in pairs for left, right in pair)


def left_behind(split: Split) -> list[str]:
    return sorted(path.name for path in split.place.iterdir()) if split.place.exists() else []


def change_image(root: Path) -> None:
    write_pair(root, 1, SIZES[1], seed=1)
