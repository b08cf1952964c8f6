"""Training samples out of 1024x2048 images: prepared pixels against decoding; one thread, one run.

    python benchmarks/loading.py [--images 6] [--samples 48] [--only samples|colour|loader|memory]

A sample is decoding and geometry: scale 0.5 to 2, a 512x1024 crop, a flip. Every way cuts the same samples in turns,
and their pixels are compared before anything is timed. All files are in the page cache, so that no disk is measured.
Images are generated street scenes, softened until their PNGs are about as large as those of Cityscapes (11 GB of 5,000
images: 2.2 MB). Colour jitter, which segbench does to the batch on the device, is timed apart, here on the CPU.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from segbench.core.spec import AugmentationSpec, DataSpec, InputSpec, JitterSpec, StreamSpec
from segbench.data.augmentation.augment import training_sample
from segbench.data.augmentation.colour_jitter import apply_jitter, draw_jitter
from segbench.data.classes import class_table
from segbench.data.dataset import SegDataset
from segbench.data.generated import render
from segbench.data.loader import TrainingBatches
from segbench.data.open import open_dataset

SIZE, CROP = (1024, 2048), (512, 1024)
FILL = (124, 116, 104)
SPEC = AugmentationSpec(scale=(0.5, 2.0), flip=0.5)
DATA = DataSpec(name="camvid")
JITTER = JitterSpec(brightness=(0.67, 1.5), contrast=(0.67, 1.5), saturation=(0.67, 1.5), hue=(-0.05, 0.05))
TARGET = 10.0
VOID = 11  # CamVid's value for what is not labelled

Sample = tuple[np.ndarray, np.ndarray]


def write_scenes(root: Path, count: int, size: tuple[int, int], *, soften: float = 0.0) -> float:
    """Write generated scenes in CamVid's layout; returns the mean size of an image file in MB."""
    folders = [root / "camvid" / "train" / name for name in ("images", "labels")]
    for folder in folders:
        folder.mkdir(parents=True)
    total = 0
    for index in range(count):
        image, label = render(index, table=class_table("camvid"), size=size, seed=0, split="train")
        image = cv2.GaussianBlur(image, (0, 0), soften) if soften else image
        label = np.where(label == 255, VOID, label).astype(np.uint8)
        for folder, pixels in zip(folders, (image[..., ::-1], label), strict=True):
            cv2.imwrite(str(folder / f"scene_{index:04d}.png"), pixels)
        total += (folders[0] / f"scene_{index:04d}.png").stat().st_size
    return total / count / 1e6


class Ways:
    """Ways to the same sample; ``number`` decides which image and what is done to it."""

    def __init__(self, root: Path) -> None:
        self.prepared = open_dataset(DATA, root=root, cache="make")
        self.streamed = open_dataset(DATA, root=root, cache="off", ram_bytes=0)
        folder = root / "camvid" / "train"
        self.images, self.labels = (sorted((folder / name).iterdir()) for name in ("images", "labels"))

    def by_segbench(self, number: int) -> Sample:
        return self._cut(self.prepared, number)

    def by_streaming(self, number: int) -> Sample:
        return self._cut(self.streamed, number)

    def by_opencv(self, number: int) -> Sample:
        """Decode and resize the whole, then cut."""
        index = number % len(self.images)
        image = cv2.cvtColor(cv2.imread(str(self.images[index]), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        label = cv2.imread(str(self.labels[index]), cv2.IMREAD_UNCHANGED)
        (height, width), top, left, flip = drawn(number)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        image, label = (array[top : top + CROP[0], left : left + CROP[1]] for array in (image, label))
        if flip:
            image, label = cv2.flip(image, 1), cv2.flip(label, 1)
        return np.ascontiguousarray(image), np.ascontiguousarray(label)

    def by_torchvision(self, number: int) -> Sample:
        """The kernels of its transforms v2 with their defaults: resize the whole, crop, flip."""
        index = number % len(self.images)
        image = decode_image(str(self.images[index]), ImageReadMode.RGB)
        label = decode_image(str(self.labels[index]), ImageReadMode.UNCHANGED)
        size, top, left, flip = drawn(number)
        image = functional.resize(image, list(size))
        label = functional.resize(label, list(size), interpolation=v2.InterpolationMode.NEAREST_EXACT)
        image, label = (functional.crop(tensor, top, left, *CROP) for tensor in (image, label))
        if flip:
            image, label = functional.horizontal_flip(image), functional.horizontal_flip(label)
        return image.contiguous().permute(1, 2, 0).numpy(), label[0].contiguous().numpy()

    @staticmethod
    def _cut(dataset: SegDataset, number: int) -> Sample:
        rng = np.random.default_rng(number)
        cut = training_sample(*dataset.read(number % len(dataset)), crop=CROP, spec=SPEC, fill=FILL, rng=rng)
        return cut.image, cut.label


def drawn(number: int) -> tuple[tuple[int, int], int, int, bool]:
    """Draw what ``training_sample`` draws from the same generator: scaled size, corner, flip."""
    rng = np.random.default_rng(number)
    scale = float(rng.uniform(*SPEC.scale))
    height, width = (round(side * scale) for side in SIZE)
    top, left = (int(rng.integers(whole - side + 1)) for whole, side in zip((height, width), CROP, strict=True))
    return (height, width), top, left, bool(rng.random() < SPEC.flip)


def compare(ways: Ways, name: str, way: Callable[[int], Sample], numbers: range) -> None:
    """Refuse to time a way that does something else. It may smooth where it shrinks, as torchvision does."""
    for number in numbers:
        (image, label), (other, other_label) = ways.by_segbench(number), way(number)
        apart = np.abs(image.astype(int) - other).mean()
        other_label = np.where(other_label == VOID, 255, other_label)
        assert apart < (6 if name == "torchvision" else 0.5), (name, number, apart)
        assert (label == other_label).mean() > 0.999, (name, number)


def samples(root: Path, images: int, count: int) -> float:
    """Print milliseconds of each way; returns how many times as fast segbench is as the faster of the others."""
    size = write_scenes(root, images, SIZE, soften=0.7)
    ways = Ways(root)
    table: dict[str, Callable[[int], Sample]] = {
        "segbench, prepared": ways.by_segbench,
        "segbench, streaming": ways.by_streaming,
        "OpenCV": ways.by_opencv,
        "torchvision": ways.by_torchvision,
    }
    for name, way in table.items():
        compare(ways, name, way, range(4))
    seconds: dict[str, list[float]] = {name: [] for name in table}
    for number in range(count):
        for name, way in table.items():
            began = time.perf_counter()
            way(number)
            seconds[name].append(time.perf_counter() - began)
    print(f"{count} samples of {images} images of 1024x2048; a PNG has {size:.1f} MB; page cache warm, one thread")
    own = seconds["segbench, prepared"]
    ratios = {}
    for name, times in seconds.items():
        ratios[name] = statistics.median(other / mine for other, mine in zip(times, own, strict=True))
        print(f"{name:22s} {1e3 * statistics.median(times):7.2f} ms a sample  {ratios[name]:6.1f} x segbench, prepared")
    return min(ratios["OpenCV"], ratios["torchvision"])


def colour(batch: int = 4, times: int = 3) -> None:
    """Print milliseconds of colour jitter of one crop: segbench's in the batch, torchvision's image by image."""
    crops = torch.randint(0, 256, (batch, 3, *CROP), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spec = AugmentationSpec(jitter=JITTER)
    theirs = v2.ColorJitter(JITTER.brightness, JITTER.contrast, JITTER.saturation, JITTER.hue)

    def ours() -> None:
        draw = draw_jitter(spec, count=batch, begin=0, size=batch, rng=np.random.default_rng(0))
        apply_jitter(crops.float().div_(255), draw)

    print("\ncolour jitter apart, ms a crop of 512x1024 (brightness, contrast, saturation, hue; one thread)")
    for name, way in (("segbench", ours), ("torchvision", lambda: [theirs(crop) for crop in crops])):
        way()
        began = time.perf_counter()
        for _ in range(times):
            way()
        print(f"{name:12s} {1e3 * (time.perf_counter() - began) / times / batch:7.1f}")


def loader(root: Path) -> None:
    """Print images a second by number of threads, batches of 8."""
    stream = StreamSpec(data=DATA, crop=CROP, batch_total=8, augmentation=SPEC)
    print(f"\nloader, images/s of 512x1024 in batches of 8, {os.cpu_count()} cores")
    for name, use in (("prepared", "make"), ("streaming", "off")):
        dataset = open_dataset(DATA, root=root, cache=use, ram_bytes=0)  # type: ignore[arg-type]
        found = []
        for workers in (0, 1, 2, 4):
            with TrainingBatches(stream, dataset, seed=0, input=InputSpec(), num_workers=workers) as batches:
                next(batches)
                count = 12 if name == "prepared" else 3
                began = time.perf_counter()
                for _ in range(count):
                    next(batches)
                found.append(f"{8 * count / (time.perf_counter() - began):6.0f} with {workers}")
        print(f"{name:12s} {'  '.join(found)} threads")


def memory(root: Path, count: int = 10_000) -> None:
    """Print the memory of the process over many samples of small images."""
    write_scenes(root, 64, (96, 128))
    stream = StreamSpec(data=DATA, crop=(64, 96), batch_total=10, augmentation=SPEC)
    print(f"\nresident memory over {count:,} samples of 64 images of 96x128, MB (of it mapped files)")
    for name, use in (("prepared", "make"), ("streaming", "off")):
        dataset = open_dataset(DATA, root=root, cache=use, ram_bytes=0)  # type: ignore[arg-type]
        found = []
        with TrainingBatches(stream, dataset, seed=0, input=InputSpec(), num_workers=2) as batches:
            for step in range(count // 10 + 1):
                if step in (50, count // 20, count // 10):
                    found.append(f"{_resident()} after {10 * step:,}")
                next(batches)
        print(f"{name:12s} {'  '.join(found)}")


def _resident() -> str:
    _, resident, shared, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    page = os.sysconf("SC_PAGE_SIZE")
    return f"{int(resident) * page / 1e6:.1f} ({int(shared) * page / 1e6:.1f})"


def main() -> None:
    """Print the four tables; exits with 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--only", choices=("samples", "colour", "loader", "memory"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    ratio = TARGET
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SEGBENCH_CACHE"] = f"{folder}/cache"
        if arguments.only not in ("memory", "colour"):
            ratio = samples(Path(folder) / "large", arguments.images, arguments.samples)
        if arguments.only in (None, "colour"):
            colour()
        if arguments.only in (None, "loader"):
            loader(Path(folder) / "large")
        if arguments.only in (None, "memory") and Path("/proc/self/statm").exists():
            memory(Path(folder) / "small")
    if arguments.only in (None, "samples"):
        print(f"\n{ratio:.1f} times as fast as the faster of OpenCV and torchvision (target: {TARGET:g})")
    sys.exit(ratio < TARGET)


if __name__ == "__main__":
    main()
