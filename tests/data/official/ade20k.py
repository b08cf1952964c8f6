"""A tiny ADE20K (SceneParse150) in the exact form of its two archives."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from segbench.data.facts import DatasetOptions
from segbench.data.sets.ade20k.options import Options

from .packing import Members, without_checksums, write_unpacked, write_zip

COUNTS = {"train": 3, "val": 2, "test": 2}
FOLDERS = {"train": "training", "val": "validation"}
SCENES, TEST = "ADEChallengeData2016.zip", "release_test.zip"


def tiny_options() -> DatasetOptions:
    """ADE20K's facts with the counts of the tiny archives."""
    splits = {split: (count,) for split, count in COUNTS.items()}
    return without_checksums(Options(splits=splits, size_bytes=1_000_000))


def write_archives(folder: Path) -> dict[str, Path]:
    """Both zips."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: write_zip(folder / name, members) for name, members in archives().items()}


def write_tree(folder: Path) -> Path:
    """The data set's folder as segbench unpacks it."""
    return write_unpacked(folder, tiny_options(), archives())


def name_of(split: str, index: int) -> str:
    """``ADE_val_00000001``: numbers begin at 1."""
    return f"ADE_{split}_{index + 1:08d}"


@cache
def arrays(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) RGB and label uint8 (H, W) with values 0..150, all of them present; sizes differ."""
    size = (40 + 3 * index, 60 - 5 * index)
    rng = np.random.default_rng([150, len(split), index])
    image = cv2.resize(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_LINEAR)
    label = rng.integers(0, 151, size, dtype=np.uint8)
    label.flat[:151] = np.arange(151)
    return image, label


@cache
def archives() -> dict[str, Members]:
    """Archive name to all of its members, those that nobody wants included."""
    lines = [
        "Idx\tRatio\tTrain\tVal\tStuff\tName",
        "1\t0.1576\t11664\t1172\t1\twall",
        "2\t0.1072\t6046\t612\t1\tbuilding",
    ]
    scenes: Members = {
        "ADEChallengeData2016/objectInfo150.txt": ("\n".join(lines) + "\n").encode(),
        "ADEChallengeData2016/sceneCategories.txt": b"ADE_train_00000001 airport_terminal\n",
        "__MACOSX/ADEChallengeData2016/._images": b"not wanted",
    }
    for split, folder in FOLDERS.items():
        for index in range(COUNTS[split]):
            image, label = arrays(split, index)
            name = name_of(split, index)
            scenes[f"ADEChallengeData2016/images/{folder}/{name}.jpg"] = jpeg(image)
            scenes[f"ADEChallengeData2016/annotations/{folder}/{name}.png"] = png(label)
    test: Members = {"release_test/list.txt": b"ADE_test_00000001.jpg\n", "release_test/readme.txt": b"not wanted"}
    for index in range(COUNTS["test"]):
        test[f"release_test/testing/{name_of('test', index)}.jpg"] = jpeg(arrays("test", index)[0])
    return {SCENES: scenes, TEST: test}


def jpeg(image: np.ndarray) -> bytes:
    """JPEG bytes of an RGB image."""
    return cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()


def png(label: np.ndarray) -> bytes:
    """Grey PNG bytes of a label."""
    return cv2.imencode(".png", label)[1].tobytes()
