"""Training samples out of prepared images: those of decoded ones, and no other page is touched."""

import ctypes
import mmap
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segbench.core.spec import AugmentationSpec, DataSpec, InputSpec, StreamSpec
from segbench.data.augmentation.augment import training_sample
from segbench.data.loader import TrainingBatches
from segbench.data.open import open_dataset
from segbench.data.prepared import cache
from tests.data.camvid_tree import places, png
from tests.data.sized_tree import split_of, streamed


@pytest.mark.parametrize("subset", [None, {"count": 4, "draw": 1}])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_bit_for_bit_those_without(root: Path, workers: int, subset: dict[str, int] | None) -> None:
    augmentation = AugmentationSpec(scale=(0.5, 2.0), flip=0.5, max_class_share=0.3, aspect=(0.8, 1.25))
    data = DataSpec(name="camvid", subset=subset)  # type: ignore[arg-type]
    spec = StreamSpec(data=data, crop=(16, 20), batch_total=3, augmentation=augmentation)

    def batches(use: str, workers: int) -> list[tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]]:
        dataset = open_dataset(data, root=root, cache=use)  # type: ignore[arg-type]
        with TrainingBatches(spec, dataset, seed=3, input=InputSpec(), num_workers=workers) as source:
            raw = [next(source) for _ in range(5)]
        return [(batch.images, batch.target, batch.keys) for batch in raw]

    plain, prepared = batches("off", 0), batches("make", workers)
    assert cache.find(split_of(root))[0] is not None
    for (images_, target, keys), (others, other_target, other_keys) in zip(plain, prepared, strict=True):
        assert torch.equal(images_, others) and torch.equal(target, other_target) and keys == other_keys


class FixedRng:
    """Draws what it was told to: scale, top, left, and whether to flip."""

    def __init__(self, scale: float, corner: tuple[int, int], flip: bool) -> None:
        self.scale, self.corner, self.flip = scale, list(corner), flip

    def uniform(self, low: float, high: float) -> float:
        return self.scale if high == 4.0 else high

    def integers(self, count: int) -> int:
        return min(self.corner.pop(0), count - 1)

    def random(self) -> float:
        return 0.0 if self.flip else 1.0


def test_window_of_a_map_equals_resizing_the_whole(tmp_path: Path) -> None:
    """Against OpenCV on whole images. Neighbours differ by 16 levels at most, so 1/32 pixel is one level at most."""
    rng = np.random.default_rng(0)
    picture, label = places(tmp_path / "camvid", "train")
    shapes = [(60, 80), (71, 45), (96, 128)]
    for folder in (picture, label):
        folder.mkdir(parents=True)
    for index, (height, width) in enumerate(shapes):
        rough = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3)).astype(np.float32), (0, 0), 2.5)
        spread = (rough - rough.min()) / np.ptp(rough) * 200
        image = np.rint(spread).astype(np.uint8)
        assert max(np.abs(np.diff(image.astype(int), axis=axis)).max() for axis in (0, 1)) <= 32
        (picture / f"a{index}.png").write_bytes(png(image))
        (label / f"a{index}.png").write_bytes(png(rng.integers(0, 12, (height, width), dtype=np.uint8)))
    prepared = open_dataset(DataSpec(name="camvid"), root=tmp_path, cache="make")
    files = streamed(tmp_path)
    worst = 0
    for turn in range(120):
        index = turn % len(shapes)
        image, classes = files.read(index)
        height, width = shapes[index]
        scale = float(rng.uniform(0.4, 2.2)) if turn % 6 else (0.5, 1.0, 2.0)[turn // 6 % 3]
        tall, wide = round(height * scale), round(width * scale)
        crop = int(rng.integers(8, tall + 1)), int(rng.integers(8, wide + 1))
        top, left, flip = int(rng.integers(tall - crop[0] + 1)), int(rng.integers(wide - crop[1] + 1)), turn % 2 == 1
        whole = cv2.resize(image, (wide, tall), interpolation=cv2.INTER_LINEAR)
        rows = [(2 * place + 1) * height // (2 * tall) for place in range(tall)]
        columns = [(2 * place + 1) * width // (2 * wide) for place in range(wide)]
        expected = whole[top : top + crop[0], left : left + crop[1]]
        expected_label = classes[rows][:, columns][top : top + crop[0], left : left + crop[1]]
        if flip:
            expected, expected_label = expected[:, ::-1], expected_label[:, ::-1]
        seen, seen_label, *_ = training_sample(
            *prepared.read(index),
            crop=crop,
            spec=AugmentationSpec(scale=(0.1, 4.0), flip=0.5),
            fill=(0, 0, 0),
            rng=FixedRng(scale, (top, left), flip),  # type: ignore[arg-type]
        )
        assert np.array_equal(seen_label, expected_label)
        worst = max(worst, int(np.abs(seen.astype(int) - expected).max()))
    assert worst <= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("shape", [(3000, 64), (32, 30_000)])
@pytest.mark.parametrize(("scale", "rotation"), [(0.5, 0.0), (1.0, 0.0), (1.7, 0.0), (1.3, 1.0)])
def test_a_crop_reads_its_own_window_alone(
    tmp_path: Path, shape: tuple[int, int], scale: float, rotation: float
) -> None:
    """In a process that may not touch any other page of the map, neither of the image nor of the label."""
    for folder, array in zip(
        places(tmp_path / "camvid", "train"), (np.zeros((*shape, 3)), np.zeros(shape)), strict=True
    ):
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(png(array.astype(np.uint8)))
    dataset = open_dataset(DataSpec(name="camvid"), root=tmp_path, cache="make")
    spec = AugmentationSpec(
        scale=(0.1, 4.0), flip=0.5, max_class_share=0.5, crop_draws=2, rotation=rotation, rotation_probability=0.5
    )
    # Crops of 24 x 24 at two places; the second is taken, as one class covers the first.
    tall, wide = round(shape[0] * scale), round(shape[1] * scale)
    corners = [(tall // 2, wide // 2), (tall // 3, wide // 3)]
    corners = [(min(top, tall - 24), min(left, wide - 24)) for top, left in corners]
    allowed = np.zeros(shape, bool)
    more = 0 if not rotation else 500
    for top, left in corners:
        y, x = (int(place / scale) for place in (top, left))
        reach = int(24 / scale) + 5 + more
        allowed[max(y - 5 - more, 0) : y + reach, max(x - 5 - more, 0) : x + reach] = True
    child = os.fork()
    if child == 0:
        image, label = dataset.read(0)
        _forbid(image, np.repeat(allowed[..., None], 3, axis=2))
        _forbid(label, allowed)
        rng = FixedRng(scale, corners[0] + corners[1], True)
        training_sample(image, label, crop=(24, 24), spec=spec, fill=(0, 0, 0), rng=rng)  # type: ignore[arg-type]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _forbid(array: np.ndarray, allowed: np.ndarray) -> None:
    """Make every page that holds nothing allowed a segmentation fault; there must be many."""
    page, begin = mmap.PAGESIZE, array.ctypes.data
    first = -(-begin // page) * page
    inside = allowed.ravel()[first - begin :]
    pages = inside[: len(inside) // page * page].reshape(-1, page).any(axis=1)
    assert (~pages).sum() > 20
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for number in np.flatnonzero(~pages):
        assert protect(ctypes.c_void_p(first + int(number) * page), ctypes.c_size_t(page), 0) == 0
