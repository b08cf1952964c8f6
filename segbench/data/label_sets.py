"""Label sets: labels that a trained network gave to images, written once with their provenance. Free of torch.

A folder with a grey 8-bit PNG of train ids for each image, 255 where the network was not sure enough, below ``labels/``
under the image's name, and ``manifest.json``, written last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segbench.core import atomic
from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.spec import DataSpec, digest

from .classes import IGNORE
from .dataset import Sample, SegDataset

MANIFEST, SCHEMA = "manifest.json", 1


@dataclass(frozen=True)
class Provenance:
    """Origin of a label set.

    Attributes:
        training: id of the stages whose network gave the labels.
        stage: name of the last of them.
        weights_sha256: of the network's file.
        data: the images, as a canonical spec without the labels.
        table: name of the class table.
        classes: names of the classes.
        threshold: confidence below which a pixel has no label; None: every pixel has one.
    """

    training: str
    stage: str
    weights_sha256: str
    data: dict[str, Any]
    table: str
    classes: tuple[str, ...]
    threshold: float | None = None


@dataclass
class LabelSet:
    """A finished label set.

    Attributes:
        folder: its folder.
        made_by: origin.
        images: SHA-256 of each image's label file, by the image's name.
        shares: share of each class among the labelled pixels, in the order of the table.
        kept: share of the pixels that have a label.
    """

    folder: Path
    made_by: Provenance
    images: dict[str, str]
    shares: list[float] = field(default_factory=list)
    kept: float = 1.0

    def read(self, key: str) -> np.ndarray:
        """Return the train ids (H, W) uint8 of an image.

        Raises:
            MissingFault: the set has no such image, or its file is missing or broken.
        """
        path = label_file(self.folder, key)
        if key not in self.images or not path.is_file():
            raise MissingFault(f"The label set {self.folder} has no labels of {key}.", next=self.anew)
        return read_labels(path, next=self.anew)

    @property
    def anew(self) -> str:
        """Command that lets the labels be made again."""
        return f"rm -r {self.folder}, and type the same command again"

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the files: missing, altered, or with values that are no classes."""
        for key, sha256 in self.images.items():
            path = label_file(self.folder, key)
            if not path.is_file():
                yield f"{path} is missing."
            elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                yield f"{path} is not the file that was written."


def set_folder(root: Path, data: DataSpec) -> Path:
    """Return the folder of the label set of a data spec below the folder of the stage that gives the labels."""
    return root / "label_sets" / digest([described(data), data.labels_threshold], length=12)


def described(data: DataSpec) -> dict[str, Any]:
    """Return what chooses and sizes the images, without where their labels come from."""
    return data.without_labels_from().canonical()


def label_file(folder: Path, key: str) -> Path:
    """Return the label file of an image by its name, ``split/name``."""
    return folder / "labels" / f"{key}.png"


def write_labels(path: Path, labels: np.ndarray) -> str:
    """Write train ids (H, W) uint8 atomically; return the file's SHA-256.

    Raises:
        RunFault: the disk is full or not writable.
    """
    done, png = cv2.imencode(".png", labels)
    assert done
    content = png.tobytes()
    atomic.write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def read_labels(path: Path, *, next: str) -> np.ndarray:
    """Read a label file.

    Raises:
        MissingFault: it is broken.
    """
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        raise MissingFault(f"{path} is not a grey 8-bit PNG.", next=next)
    return labels


def write_manifest(found: LabelSet) -> None:
    """Write the manifest, after all labels.

    Raises:
        RunFault: the disk is full or not writable.
    """
    content = {"schema": SCHEMA, "made_by": asdict(found.made_by), "images": found.images}
    atomic.write_json(found.folder / MANIFEST, content | {"shares": found.shares, "kept": found.kept})


def open_label_set(folder: Path) -> LabelSet:
    """Open a finished label set.

    Raises:
        MissingFault: there is none, or it is not finished.
        InvalidFault: its manifest does not read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingFault(f"{folder} holds no finished label set: no {MANIFEST}.", next="segbench data list")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}, this version reads {SCHEMA}")
        made_by = Provenance(**{**content["made_by"], "classes": tuple(content["made_by"]["classes"])})
        return LabelSet(folder, made_by, dict(content["images"]), list(content["shares"]), float(content["kept"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidFault(
            f"{path} does not read: {error}.", next=f"rm -r {folder}, and type the same command again"
        ) from error


def require_fits(found: LabelSet, wanted: Provenance, keys: Sequence[str]) -> None:
    """Raise unless a label set is that of these images, classes and weights.

    Raises:
        InvalidFault: a line for each difference.
    """
    words = {"data": "data", "table": "class table", "classes": "classes", "threshold": "threshold"}
    words |= {"training": "training", "weights_sha256": "weights"}
    have, want = asdict(found.made_by), asdict(wanted)
    faults = [
        f"{found.folder} was made with another {word}." for name, word in words.items() if have[name] != want[name]
    ]
    lacking = [key for key in keys if key not in found.images]
    if lacking:
        faults.append(f"{found.folder} lacks {len(lacking):,} of {len(keys):,} images, such as {lacking[0]}.")
    if faults:
        raise InvalidFault(*faults, next=found.anew)


class Relabelled:
    """A data set whose labels are those of a label set; its own are never read out.

    Args:
        dataset: images.
        labels: label set of all of them.
    """

    def __init__(self, dataset: SegDataset, labels: LabelSet) -> None:
        self.classes = dataset.classes
        self._dataset, self._labels = dataset, labels

    def __len__(self) -> int:
        return len(self._dataset)

    def key(self, index: int) -> str:
        return self._dataset.key(index)

    def read(self, index: int) -> Sample:
        image, _ = self._dataset.read(index)
        labels = self._labels.read(self.key(index))
        if labels.shape != image.shape[:2]:
            sizes = "{}x{}, its image {}x{}".format(*labels.shape, *image.shape[:2])
            raise MissingFault(
                f"{label_file(self._labels.folder, self.key(index))}: is {sizes}.", next=self._labels.anew
            )
        return image, labels

    def instances(self, index: int) -> np.ndarray | None:
        return None


def tally(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the pixels of each class and, last, those without a label: int64 (classes + 1,)."""
    counts = np.bincount(labels.ravel(), minlength=IGNORE + 1)
    return np.append(counts[:classes], counts[IGNORE])
