"""Decoded images kept in RAM, as many as fit. Free of torch."""

import threading
from typing import Any

import numpy as np

from segbench.data.dataset import Sample, SegDataset


class RamLimit:
    """Bytes that several data sets may keep together."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Reserve ``count`` bytes and return True, or return False if fewer are left."""
        with self._lock:
            fits = count <= self._left
            self._left -= count if fits else 0
            return fits

    def __getstate__(self) -> dict[str, Any]:
        return {"_left": self._left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_left"])  # type: ignore[misc]  # a lock cannot be sent to another process


class RamCached:
    """Data set whose samples stay in RAM once read, first come first kept, until the limit is reached."""

    def __init__(self, dataset: SegDataset, limit: RamLimit) -> None:
        self.classes = dataset.classes
        self._dataset, self._limit = dataset, limit
        self._kept: dict[int, Sample] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._dataset)

    def key(self, index: int) -> str:
        return self._dataset.key(index)

    def read(self, index: int) -> Sample:
        sample = self._kept.get(index)
        if sample is None:
            sample = self._dataset.read(index)
            for array in sample:
                array.flags.writeable = False
            with self._lock:
                if index not in self._kept and self._limit.take(sum(array.nbytes for array in sample)):
                    self._kept[index] = sample
        return sample

    def instances(self, index: int) -> np.ndarray | None:
        return self._dataset.instances(index)

    def __getstate__(self) -> dict[str, Any]:
        return {"_dataset": self._dataset, "_limit": self._limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_dataset"], state["_limit"])  # type: ignore[misc]
