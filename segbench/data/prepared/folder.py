"""The files of a data set as images with train ids: decoded whenever they are asked for, or as prepared."""

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np

from segbench.core.errors import MissingFault, RunFault
from segbench.core.spec import DataSpec
from segbench.data.classes import ClassTable
from segbench.data.dataset import Sample, SegDataset
from segbench.data.facts import DatasetOptions
from segbench.data.own_data.description import FILE
from segbench.data.reader import pairs, require_folder
from segbench.data.watch import Watch

from . import cache
from .cache import Prepared, Split
from .decode import Decoder
from .memory import Budget, InMemory
from .prepare import prepare

CacheUse = Literal["make", "use", "off"]


def splits_of(spec: DataSpec, options: DatasetOptions, table: ClassTable, root: Path) -> list[Split]:
    """The splits of a spec as they lie in the data set's folder.

    Raises:
        MissingFault: the folder or one of its files is missing.
    """
    folder = require_folder(spec.name, root, options)
    decoder, own = Decoder(spec, table), root / spec.name / FILE
    described = own.read_text(encoding="utf-8", errors="replace") if own.is_file() else ""

    def listed(split: str) -> Split:
        found = tuple(pairs(spec.name, folder, split))
        return Split(spec, split, folder, found, table, decoder, options.native_size, described)

    splits = [listed(split) for split in spec.splits]
    absent = [path for split in splits for pair in split.pairs for path in pair.files if not path.is_file()]
    empty = [split.split for split in splits if not split.pairs]
    if absent or empty:
        lines = [f"{path}: is missing" for path in absent[:5]] or [f"{folder} holds no images of {', '.join(empty)}."]
        lines += [f"... and {len(absent) - 5:,} more files." for _ in range(len(absent) > 5)]
        raise MissingFault(*lines, next=f"segbench data verify {spec.name}")
    return splits


def open_folder(splits: list[Split], *, use: CacheUse, ram_bytes: int, watch: Watch) -> SegDataset:
    """The splits one after the other, each as prepared or else decoded when asked for, see ``open_dataset``."""
    budget = Budget(ram_bytes)
    parts: list[SegDataset] = []
    for split in splits:
        prepared = None if use == "off" else _prepared(split, use, watch)
        if prepared is not None:
            parts.append(_Mapped(split, prepared))
        else:
            parts.append(InMemory(_Streamed(split), budget) if ram_bytes else _Streamed(split))
    return parts[0] if len(parts) == 1 else _Joined(parts)


def _prepared(split: Split, use: CacheUse, watch: Watch) -> Prepared | None:
    """The prepared split, made if that is wanted and there is room; otherwise the reason is told."""
    if use == "make":
        try:
            return prepare(split, watch=watch)
        except RunFault as fault:  # no room, or no permission: slower, and the same numbers
            watch.notice(f"{fault.faults[0]} Every image is decoded whenever it is used.")
            return None
    found, why = cache.find(split)
    if found is None and (split.place / cache.INDEX).exists():
        watch.notice(f"{split.title} is not used as it was prepared: {why}. Every image is decoded when it is used.")
    return found


class _Streamed:
    """One split, decoded whenever it is asked for."""

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


class _Mapped(_Streamed):
    """One split as it was prepared; the system's page cache is all the memory that it takes."""

    def __init__(self, split: Split, prepared: Prepared) -> None:
        super().__init__(split)
        self._prepared = prepared

    def read(self, index: int) -> Sample:
        return self._prepared.read(index)


class _Joined:
    """Several data sets one after the other."""

    def __init__(self, parts: "list[SegDataset]") -> None:
        self.classes = parts[0].classes
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def key(self, index: int) -> str:
        part, place = self._find(index)
        return part.key(place)

    def read(self, index: int) -> Sample:
        part, place = self._find(index)
        return part.read(place)

    def instances(self, index: int) -> np.ndarray | None:
        part, place = self._find(index)
        return part.instances(place)

    def _find(self, index: int) -> "tuple[SegDataset, int]":
        number = bisect_right(self._ends, index)
        return self._parts[number], index - (self._ends[number - 1] if number else 0)
