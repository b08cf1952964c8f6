"""Data sets of a folder: splits that are prepared, or decoded on every read. Free of torch."""

from bisect import bisect_right
from itertools import accumulate
from typing import Literal

import numpy as np

from segbench.core.errors import MissingFault, RunFault
from segbench.core.progress import Observer
from segbench.core.spec import DataSpec
from segbench.data.classes import ClassTable
from segbench.data.dataset import Sample, SegDataset
from segbench.data.handle import DatasetHandle
from segbench.data.own_data.description import FILE
from segbench.data.presence import presence

from . import cache
from .cache import Prepared, Split
from .decode import Decoder
from .prepare import prepare
from .ram_cache import RamCached, RamLimit

CacheUse = Literal["make", "use", "off"]


def splits_of(dataset: DatasetHandle, spec: DataSpec, table: ClassTable) -> list[Split]:
    """Return the splits of a spec.

    Raises:
        MissingFault: the folder or one of its files is missing.
        InvalidFault: the list of a split is not valid.
    """
    folder = dataset.require_folder()
    states = presence(dataset, spec.splits).splits
    for state in states:
        if state.fault is not None:
            raise state.fault
    absent = [path for state in states for path in state.absent]
    empty = [state.split for state in states if not state.pairs]
    if absent or empty:
        lines = [f"{path}: is missing" for path in absent[:5]] or [f"{folder} holds no images of {', '.join(empty)}."]
        lines += [f"... and {len(absent) - 5:,} more files." for _ in range(len(absent) > 5)]
        raise MissingFault(*lines, next=f"segbench data verify {spec.name}")
    decoder, own = Decoder(spec, table, dataset.read_label), dataset.root / spec.name / FILE
    described = own.read_text(encoding="utf-8", errors="replace") if own.is_file() else ""
    size = dataset.options.native_size
    return [Split(spec, state.split, folder, state.pairs, table, decoder, size, described) for state in states]


def open_folder(splits: list[Split], *, use: CacheUse, ram_bytes: int, observer: Observer) -> SegDataset:
    """Concatenate splits, each as prepared or else decoded on every read, see ``open_dataset``."""
    limit = RamLimit(ram_bytes)
    opened: list[SegDataset] = []
    for split in splits:
        prepared = None if use == "off" else _prepared(split, use, observer)
        if prepared is not None:
            opened.append(_Mapped(split, prepared))
        else:
            opened.append(RamCached(_Decoded(split), limit) if ram_bytes else _Decoded(split))
    return opened[0] if len(opened) == 1 else _Concatenated(opened)


def _prepared(split: Split, use: CacheUse, observer: Observer) -> Prepared | None:
    """Return the prepared split, making it if wanted and if there is room; else None, with a note of the reason."""
    if use == "make":
        try:
            return prepare(split, observer=observer)
        except RunFault as fault:  # no room, or no permission: slower, and the same numbers
            observer.note(f"{fault.faults[0]} Every image is decoded whenever it is used.")
            return None
    found, why = cache.find(split)
    if found is None and (split.place / cache.INDEX).exists():
        observer.note(f"{split.title} is not used as it was prepared: {why}. Every image is decoded when it is used.")
    return found


class _Decoded:
    """One split, decoded on every read."""

    def __init__(self, split: Split) -> None:
        self.classes = split.table
        self._split = split

    def __len__(self) -> int:
        return len(self._split.pairs)

    def key(self, index: int) -> str:
        return self._split.pairs[index].key

    def read(self, index: int) -> Sample:
        return self._split.decoder.read(self._split.pairs[index])

    def instances(self, index: int) -> np.ndarray | None:
        return self._split.decoder.instances(self._split.pairs[index])


class _Mapped(_Decoded):
    """One prepared split, mapped into memory: it takes no more than the system's page cache."""

    def __init__(self, split: Split, prepared: Prepared) -> None:
        super().__init__(split)
        self._prepared = prepared

    def read(self, index: int) -> Sample:
        return self._prepared.read(index)


class _Concatenated:
    """Several data sets, one after the other."""

    def __init__(self, datasets: list[SegDataset]) -> None:
        self.classes = datasets[0].classes
        self._datasets = datasets
        self._ends = list(accumulate(len(dataset) for dataset in datasets))

    def __len__(self) -> int:
        return self._ends[-1]

    def key(self, index: int) -> str:
        dataset, place = self._find(index)
        return dataset.key(place)

    def read(self, index: int) -> Sample:
        dataset, place = self._find(index)
        return dataset.read(place)

    def instances(self, index: int) -> np.ndarray | None:
        dataset, place = self._find(index)
        return dataset.instances(place)

    def _find(self, index: int) -> tuple[SegDataset, int]:
        number = bisect_right(self._ends, index)
        return self._datasets[number], index - (self._ends[number - 1] if number else 0)
