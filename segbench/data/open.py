"""Open a data set as a sequence of images and train-id maps. Free of torch."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from segbench.core import support
from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.spec import DataSpec, SubsetSpec

from .classes import IGNORE, ClassTable, class_table
from .facts import DatasetOptions, facts, require_split
from .generated import render
from .images import read_image
from .places import data_root
from .reader import Pair, label_reader, pairs, require_folder
from .resample import resize, scaled

RAM_BYTES = 2 << 30
_GENERATED_SIZE = (384, 512)  # where a data set has no size of its own

Sample = tuple[np.ndarray, np.ndarray]  # uint8 (H, W, 3) RGB, uint8 (H, W) train ids


class SegDataset(Protocol):
    """Images with labels in a fixed order. Reading is safe from several threads at once."""

    classes: ClassTable

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """Name of an image, unique in the data set: ``split/name``."""
        ...

    def read(self, index: int) -> Sample:
        """uint8 (H, W, 3) RGB and uint8 (H, W) train ids, 255 where nothing is scored; not to be written to.

        Raises:
            MissingFault: a file is missing or broken, the sizes differ, or a label value is unknown.
        """
        ...


def open_dataset(
    spec: DataSpec,
    *,
    root: Path | None = None,
    seed: int = 0,
    options: DatasetOptions | None = None,
    ram_bytes: int = RAM_BYTES,
) -> SegDataset:
    """The data set that a spec describes; lists folders, reads no image.

    What has been read stays decoded in memory up to ``ram_bytes``.

    Args:
        spec: what to open. ``splits`` are put one after the other. ``images`` counts generated images over all
            splits; left out, as many as the real splits have. Generated images are drawn at the wanted size.
        root: the data root; None for ``SEGBENCH_DATA`` or the user's data folder.
        seed: of generated images.
        options: facts of the data set; None for the registered ones.
        ram_bytes: memory for decoded images; 0 keeps none.

    Raises:
        UsageFault: unknown data set or split.
        InvalidFault: the class table does not belong to the data set, or the subset rule is not supported.
        MissingFault: the folder or one of its files is missing.
    """
    options = options or facts(spec.name)
    if spec.scale != 1.0 and spec.size is not None:
        raise InvalidFault(f"data {spec.name}: scale and size cannot both be set.")
    if spec.images is not None and spec.source == "folder":
        raise InvalidFault(f"data {spec.name}: images counts generated images, this source is a folder.")
    table = _table(spec, options)
    for split in spec.splits:
        require_split(options, split)
    dataset: SegDataset
    if spec.source == "generated":
        dataset = _Generated(spec, options, table, seed)
    else:
        dataset = _Folder(spec, options, table, data_root(root))
    if spec.subset is not None:
        dataset = _Chosen(dataset, _subset(spec.subset, len(dataset), rest=spec.unlabelled_rest), spec.unlabelled_rest)
    elif spec.unlabelled_rest:
        raise InvalidFault(f"data {spec.name}: unlabelled_rest needs a subset.")
    return _InMemory(dataset, ram_bytes) if ram_bytes else dataset


class _Folder:
    """Files of a data set."""

    def __init__(self, spec: DataSpec, options: DatasetOptions, table: ClassTable, root: Path) -> None:
        self.classes = table
        self._name, self._scale, self._size = spec.name, spec.scale, spec.size
        folder = require_folder(spec.name, root, options)
        self._pairs: list[Pair] = [pair for split in spec.splits for pair in pairs(spec.name, folder, split)]
        absent = [path for pair in self._pairs for path in pair.files if not path.is_file()]
        if absent or not self._pairs:
            lines = [f"{path}: is missing" for path in absent[:5]] or [
                f"{folder} holds no images of {', '.join(spec.splits)}."
            ]
            lines += [f"... and {len(absent) - 5:,} more files." for _ in range(len(absent) > 5)]
            raise MissingFault(*lines, next=f"segbench data verify {spec.name}")
        self._read_label = label_reader(spec.name)

    def __len__(self) -> int:
        return len(self._pairs)

    def key(self, index: int) -> str:
        return self._pairs[index].key

    def read(self, index: int) -> Sample:
        pair = self._pairs[index]
        image = read_image(pair.image)
        raw = np.full(image.shape[:2], IGNORE, np.uint8) if pair.label is None else self._read_label(pair.label)
        advice = f"segbench data verify {self._name}"
        if image.shape[:2] != raw.shape:
            sizes = "{}x{} but its image {}x{}".format(*raw.shape, *image.shape[:2])
            raise MissingFault(f"{pair.label}: is {sizes}", next=advice)
        try:
            label = raw if pair.label is None else self.classes.to_train_ids(raw)
        except ValueError as error:
            fault = f"{pair.label}: label values {error} are not in class table {self.classes.name}"
            raise MissingFault(fault, next=advice) from None
        size = self._size or scaled(label.shape, self._scale)
        return resize(image, label, size)


class _Generated:
    """Drawn street scenes with the data set's classes, split names and size."""

    def __init__(self, spec: DataSpec, options: DatasetOptions, table: ClassTable, seed: int) -> None:
        self.classes = table
        self._seed = seed
        self._size = spec.size or scaled(options.native_size or _GENERATED_SIZE, spec.scale)
        number = len(spec.splits)
        if spec.images is None:
            counts = [options.splits[split][0] for split in spec.splits]
        else:
            counts = [spec.images // number + (place < spec.images % number) for place in range(number)]
        self._items = [
            (split, index) for split, count in zip(spec.splits, counts, strict=True) for index in range(count)
        ]

    def __len__(self) -> int:
        return len(self._items)

    def key(self, index: int) -> str:
        split, number = self._items[index]
        return f"{split}/generated_{number:05d}"

    def read(self, index: int) -> Sample:
        split, number = self._items[index]
        return render(number, table=self.classes, size=self._size, seed=self._seed, split=split)


class _Chosen:
    """Some images of another data set, with or without their labels."""

    def __init__(self, dataset: SegDataset, indices: Sequence[int], unlabelled: bool) -> None:
        self.classes = dataset.classes
        self._dataset, self._indices, self._unlabelled = dataset, indices, unlabelled

    def __len__(self) -> int:
        return len(self._indices)

    def key(self, index: int) -> str:
        return self._dataset.key(self._indices[index])

    def read(self, index: int) -> Sample:
        image, label = self._dataset.read(self._indices[index])
        return image, np.full_like(label, IGNORE) if self._unlabelled else label


class _InMemory:
    """Keeps what was read, first come first kept, until the memory is used up."""

    def __init__(self, dataset: SegDataset, ram_bytes: int) -> None:
        self.classes = dataset.classes
        self._dataset, self._left = dataset, ram_bytes
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
            cost = sum(array.nbytes for array in sample)
            for array in sample:
                array.flags.writeable = False
            with self._lock:
                if cost <= self._left and index not in self._kept:
                    self._kept[index] = sample
                    self._left -= cost
        return sample


def _table(spec: DataSpec, options: DatasetOptions) -> ClassTable:
    table = class_table(spec.classes or options.table)
    known = (options.table, *options.variants)
    if table.name not in known:
        raise InvalidFault(f"data {spec.name}: class table {table.name!r} does not fit; known: {', '.join(known)}.")
    return table


def _subset(subset: SubsetSpec, count: int, *, rest: bool) -> list[int]:
    faults = [str(lack) for lack in support.of_subset(subset)]
    if faults:
        raise InvalidFault(*faults)
    if subset.count > count:
        raise InvalidFault(f"subset: count {subset.count:,} is more than the {count:,} images there are.")
    order = np.random.default_rng([subset.draw, count]).permutation(count)
    return sorted(int(index) for index in (order[subset.count :] if rest else order[: subset.count]))
