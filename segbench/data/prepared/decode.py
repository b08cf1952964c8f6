"""Decoding of a pair of files to pixels and train ids. Free of torch."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from segbench.core.errors import MissingFault
from segbench.core.spec import DataSpec
from segbench.data import images
from segbench.data.classes import IGNORE, ClassTable
from segbench.data.dataset import Sample
from segbench.data.reader import Pair
from segbench.data.resample import resize, scaled

from .code_digest import decoding_digest


class Decoder:
    """Reader of the pairs of one data set at one size with one class table. Thread-safe."""

    def __init__(self, spec: DataSpec, table: ClassTable, read_label: Callable[[Path], np.ndarray]) -> None:
        self._spec, self._table, self._read_label = spec, table, read_label

    def read(self, pair: Pair) -> Sample:
        """Return uint8 (H, W, 3) RGB and uint8 (H, W) train ids, all 255 if the pair has no label.

        Raises:
            MissingFault: a file is missing or broken, the sizes differ, or a label value is unknown.
        """
        image = images.read_image(pair.image)
        raw = np.full(image.shape[:2], IGNORE, np.uint8) if pair.label is None else self._read_label(pair.label)
        advice = f"segbench data verify {self._spec.name}"
        if image.shape[:2] != raw.shape:
            sizes = "{}x{} but its image {}x{}".format(*raw.shape, *image.shape[:2])
            raise MissingFault(f"{pair.label}: is {sizes}", next=advice)
        try:
            label = raw if pair.label is None else self._table.to_train_ids(raw)
        except ValueError as error:
            fault = f"{pair.label}: label values {error} are not in class table {self._table.name}"
            raise MissingFault(fault, next=advice) from None
        return resize(image, label, self.size(label.shape), how=self._spec.resize)

    def instances(self, pair: Pair) -> np.ndarray | None:
        """Return int32 (H, W) instance ids; None if there are none, or if images are resized."""
        if pair.instances is None or self._spec.scale != 1.0 or self._spec.size is not None:
            return None
        return images.read_instances(pair.instances)

    def size(self, native: tuple[int, ...]) -> tuple[int, int]:
        """Return (height, width) at which an image of that size is read."""
        return self._spec.size or scaled(native, self._spec.scale)

    def code(self) -> str:
        """Return a digest of the code that makes the pixels; what other code made is not used."""
        return decoding_digest(Path(getattr(sys.modules.get(self._read_label.__module__), "__file__", None) or ""))
