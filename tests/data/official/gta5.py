"""A tiny GTA5 in the exact form of its archives: palette PNGs of odd sizes, one pair whose sizes differ, split.mat."""

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from segbench.data.facts import DatasetOptions
from segbench.data.sets.gta5.options import Options

from .packing import Members, without_checksums, write_unpacked, write_zip

FRAMES = tuple(range(1, 21))  # two an archive, of which there are ten
SPLITS = {"train": FRAMES[::2], "val": FRAMES[1::4], "test": FRAMES[3::4]}
MISMATCHED = 7  # its label is a row higher than its image
PLATE = 34  # licence plate, which has the colour of a car
MAPPING = "read_mapping.zip"
# Colours of the Cityscapes ids 0..34; cityscapesScripts, helpers/labels.py.
PALETTE = [
    (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0), (111, 74, 0), (81, 0, 81), (128, 64, 128), (244, 35, 232),
    (250, 170, 160), (230, 150, 140), (70, 70, 70), (102, 102, 156), (190, 153, 153), (180, 165, 180), (150, 100, 100),
    (150, 120, 90), (153, 153, 153), (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
    (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 0, 90), (0, 0, 110),
    (0, 80, 100), (0, 0, 230), (119, 11, 32), (0, 0, 142),
]  # fmt: skip


def tiny_options() -> DatasetOptions:
    """GTA5's facts with the counts of the tiny archives."""
    splits = {"trainvaltest": (len(FRAMES),)} | {split: (len(frames),) for split, frames in SPLITS.items()}
    return without_checksums(Options(splits=splits, size_bytes=1_000_000))


def write_archives(folder: Path) -> dict[str, Path]:
    """The twenty zips and read_mapping.zip."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: write_zip(folder / name, members) for name, members in archives().items()}


def write_tree(folder: Path, *, mapping: bool = True) -> Path:
    """The data set's folder as segbench unpacks it, with split.mat or without."""
    wanted = {name: members for name, members in archives().items() if mapping or name != MAPPING}
    return write_unpacked(folder, tiny_options(), wanted)


@cache
def arrays(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) RGB and label uint8 (H, W) with ids 0..34, all of them present."""
    size = (41 + frame % 3, 63 - frame % 2)
    rng = np.random.default_rng([34, frame])
    label = np.repeat(rng.integers(0, 35, (size[0], 9), dtype=np.uint8), 7, axis=1)[:, : size[1]].copy()
    label.flat[:35] = np.arange(35)
    noise = rng.integers(-10, 11, (*size, 3))
    image = np.clip(np.array(PALETTE, np.int16)[label] + noise, 0, 255).astype(np.uint8)
    return (image[:-1], label) if frame == MISMATCHED else (image, label)


@cache
def archives() -> dict[str, Members]:
    """Archive name to all of its members."""
    found: dict[str, Members] = {}
    for part in range(1, 11):
        images: Members = {}
        labels: Members = {}
        for frame in FRAMES[2 * part - 2 : 2 * part]:
            image, label = arrays(frame)
            images[f"images/{frame:05d}.png"] = png(image)
            labels[f"labels/{frame:05d}.png"] = png(label, palette=True)
        found |= {f"{part:02d}_images.zip": images, f"{part:02d}_labels.zip": labels}
    stream = io.BytesIO()
    savemat(stream, {f"{split}Ids": np.array(numbers, np.float64)[:, None] for split, numbers in SPLITS.items()})
    found[MAPPING] = {"read_mapping/split.mat": stream.getvalue(), "read_mapping/readme.txt": b"not wanted"}
    return found


def png(array: np.ndarray, *, palette: bool = False) -> bytes:
    """PNG bytes of RGB or grey values; of grey ones with the palette of the ids if it is wanted."""
    picture = Image.fromarray(array)
    if palette:
        picture.putpalette([channel for color in PALETTE for channel in color])
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
