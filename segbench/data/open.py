"""Open a data set as a sequence of images and train-id maps. Free of torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segbench.core.errors import InvalidFault
from segbench.core.spec import DataSpec, SubsetSpec

from .classes import IGNORE, ClassTable, class_table
from .dataset import Sample, SegDataset
from .facts import DatasetOptions, facts, require_split
from .generated import render
from .places import data_root
from .prepared.cache import Split
from .prepared.folder import CacheUse, open_folder, splits_of
from .prepared.memory import Budget, InMemory
from .reader import pairs, require_folder
from .resample import scaled
from .subsets import choose, classes_shown
from .watch import SILENT, Watch

RAM_BYTES = 2 << 30
_GENERATED_SIZE = (384, 512)  # where a data set has no size of its own


def open_dataset(
    spec: DataSpec,
    *,
    root: Path | None = None,
    seed: int = 0,
    options: DatasetOptions | None = None,
    ram_bytes: int = RAM_BYTES,
    cache: CacheUse = "use",
    watch: Watch = SILENT,
) -> SegDataset:
    """The data set that a spec describes; lists folders, and reads no image unless it is to be prepared.

    Images of a folder are prepared (decoded once for all, see ``cache``) or streamed (decoded whenever they are asked
    for); what was decoded so stays in memory up to ``ram_bytes``. Their pixels are the same.

    Args:
        spec: what to open. ``splits`` are put one after the other. ``images`` counts generated images over all
            splits; left out, as many as the real splits have. Generated images are drawn at the wanted size.
        root: the data root; None for ``SEGBENCH_DATA`` or the user's data folder.
        seed: of generated images.
        options: facts of the data set; None for the registered ones.
        ram_bytes: memory for decoded images; 0 keeps none. What is prepared needs none.
        cache: ``make`` prepares what is not prepared yet, as training wants it, if there is room; ``use`` takes what
            is prepared; ``off`` streams.
        watch: told while something is prepared.

    Raises:
        UsageFault: unknown data set or split.
        InvalidFault: the class table does not belong to the data set, or the subset rule is not supported.
        MissingFault: the folder or one of its files is missing.
    """
    options = options or facts(spec.name)
    dataset: SegDataset
    if spec.source == "generated":
        drawn = _Generated(spec, options, _table(spec, options), seed)
        dataset = InMemory(drawn, Budget(ram_bytes)) if ram_bytes else drawn
    else:
        splits = list_splits(spec, root=root, options=options)
        dataset = open_folder(splits, use=cache, ram_bytes=ram_bytes, watch=watch)
    if spec.subset is not None:
        dataset = _Chosen(dataset, _chosen(spec, spec.subset, dataset, options, root), spec.unlabelled_rest)
    elif spec.unlabelled_rest:
        raise InvalidFault(f"data {spec.name}: unlabelled_rest needs a subset.")
    return dataset


def list_splits(spec: DataSpec, *, root: Path | None = None, options: DatasetOptions | None = None) -> list[Split]:
    """The splits of a folder: what there is to decode, and how. Faults as of ``open_dataset``."""
    options = options or facts(spec.name)
    if spec.images is not None:
        raise InvalidFault(f"data {spec.name}: images counts generated images, this source is a folder.")
    return splits_of(spec, options, _table(spec, options), data_root(root))


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

    def instances(self, index: int) -> np.ndarray | None:
        return None


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

    def instances(self, index: int) -> np.ndarray | None:
        return None if self._unlabelled else self._dataset.instances(self._indices[index])


def _table(spec: DataSpec, options: DatasetOptions) -> ClassTable:
    """The class table, and whether the rest of the spec makes sense."""
    if spec.scale != 1.0 and spec.size is not None:
        raise InvalidFault(f"data {spec.name}: scale and size cannot both be set.")
    for split in spec.splits:
        require_split(options, split)
    table = class_table(spec.classes or options.table)
    known = (options.table, *options.variants)
    if table.name not in known:
        raise InvalidFault(f"data {spec.name}: class table {table.name!r} does not fit; known: {', '.join(known)}.")
    return table


def _chosen(
    spec: DataSpec, subset: SubsetSpec, dataset: SegDataset, options: DatasetOptions, root: Path | None
) -> list[int]:
    """Positions of the images that a subset takes, or of those that it leaves."""

    def shown() -> np.ndarray:
        folder = require_folder(spec.name, data_root(root), options)
        listed = [pair for split in spec.splits for pair in pairs(spec.name, folder, split)]
        return classes_shown(spec.name, listed, dataset.classes)

    keys = [dataset.key(index) for index in range(len(dataset))]
    official = sum(options.splits[split][0] for split in spec.splits) if spec.source == "folder" else None
    chosen = choose(subset, keys, dataset=spec.name, official=official, shown=shown)
    if not spec.unlabelled_rest:
        return chosen
    rest = sorted(set(range(len(keys))) - set(chosen))
    if not rest:
        raise InvalidFault(f"subset: count {subset.count:,} leaves none of the {len(keys):,} images without a label.")
    return rest
