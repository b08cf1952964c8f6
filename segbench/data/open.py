"""Opening a data set as a sequence of images and train-id maps. Free of torch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from segbench.core.errors import InvalidFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import DataSpec, SubsetSpec

from .classes import IGNORE, ClassTable
from .dataset import Sample, SegDataset
from .facts import DatasetOptions, require_split
from .generated import render
from .handle import DatasetHandle, find_dataset
from .label_sets import Relabelled, open_label_set
from .prepared.cache import Split
from .prepared.folder import CacheUse, open_folder, splits_of
from .prepared.ram_cache import RamCached, RamLimit
from .resample import scaled
from .subsets import choose, classes_shown

RAM_BYTES = 2 << 30
_GENERATED_SIZE = (384, 512)  # of data sets whose images differ in size


def open_dataset(
    spec: DataSpec,
    *,
    root: Path | None = None,
    seed: int = 0,
    options: DatasetOptions | None = None,
    ram_bytes: int = RAM_BYTES,
    cache: CacheUse = "use",
    observer: Observer = SILENT,
    labels: Path | None = None,
) -> SegDataset:
    """Open the data set of a spec; lists folders, and reads no image unless images are to be prepared.

    Images of a folder are prepared (decoded once and kept, see ``cache``) or decoded on every read; images decoded on
    read stay in RAM up to ``ram_bytes``. The pixels are the same.

    Args:
        spec: what to open. ``splits`` are concatenated. ``images`` counts generated images over all splits; None for
            as many as the real splits have. Generated images are drawn at the wanted size.
        root: data root; None for ``SEGBENCH_DATA`` or the user's data folder.
        seed: of generated images.
        options: facts of the data set; None for the registered ones.
        ram_bytes: RAM for decoded images; 0 keeps none. Prepared images need none.
        cache: ``make`` prepares what is not prepared yet if there is room, as for training; ``use`` takes what is
            prepared; ``off`` decodes on every read.
        observer: told of preparation.
        labels: folder of the label set that takes the place of the labels; needed if the spec's come from a stage.

    Raises:
        UsageFault: unknown data set or split.
        InvalidFault: the class table does not belong to the data set, the subset rule is not supported, or the labels
            come from a stage and there are none.
        MissingFault: the folder or one of its files is missing.
    """
    if spec.labels_from is not None:
        if labels is None:
            raise InvalidFault(f"data {spec.name}: its labels come from stage {spec.labels_from!r}, which gave none.")
        bare = spec.without_labels_from()
        images = open_dataset(
            bare, root=root, seed=seed, options=options, ram_bytes=ram_bytes, cache=cache, observer=observer
        )
        return Relabelled(images, open_label_set(labels))
    found = find_dataset(spec.name, root, options=options)
    table = _table(spec, found)
    dataset: SegDataset
    splits: list[Split] = []
    if spec.source == "generated":
        drawn = _Generated(spec, found.options, table, seed)
        dataset = RamCached(drawn, RamLimit(ram_bytes)) if ram_bytes else drawn
    else:
        splits = list_splits(found, spec)
        dataset = open_folder(splits, use=cache, ram_bytes=ram_bytes, observer=observer)
    if spec.subset is not None:
        listed = [pair for split in splits for pair in split.pairs]
        indices = _chosen(spec, spec.subset, dataset, found.options, lambda: classes_shown(found, listed, table))
        return Chosen(dataset, indices, spec.unlabelled_rest)
    if spec.unlabelled_rest:
        raise InvalidFault(f"data {spec.name}: unlabelled_rest needs a subset.")
    return dataset


def list_splits(dataset: DatasetHandle, spec: DataSpec) -> list[Split]:
    """Return the splits of a spec that lie in a folder: their pairs and how they are decoded.

    Raises:
        UsageFault, InvalidFault, MissingFault: as for ``open_dataset``.
    """
    if spec.images is not None:
        raise InvalidFault(f"data {spec.name}: images counts generated images, this source is a folder.")
    return splits_of(dataset, spec, _table(spec, dataset))


class _Generated:
    """Drawn street scenes with the classes, split names and size of a data set."""

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


class Chosen:
    """Some images of another data set, with or without their labels; ``total`` is the number of all."""

    def __init__(self, dataset: SegDataset, indices: Sequence[int], unlabelled: bool) -> None:
        self.classes = dataset.classes
        self._dataset, self._indices, self._unlabelled = dataset, indices, unlabelled
        self.total = len(dataset)

    def __len__(self) -> int:
        return len(self._indices)

    def key(self, index: int) -> str:
        return self._dataset.key(self._indices[index])

    def read(self, index: int) -> Sample:
        image, label = self._dataset.read(self._indices[index])
        return image, np.full_like(label, IGNORE) if self._unlabelled else label

    def instances(self, index: int) -> np.ndarray | None:
        return None if self._unlabelled else self._dataset.instances(self._indices[index])


def _table(spec: DataSpec, dataset: DatasetHandle) -> ClassTable:
    """Return the class table after checking that the rest of the spec is consistent."""
    if spec.scale != 1.0 and spec.size is not None:
        raise InvalidFault(f"data {spec.name}: scale and size cannot both be set.")
    for split in spec.splits:
        require_split(dataset.options, split)
    return dataset.table(spec.classes)


def _chosen(
    spec: DataSpec, subset: SubsetSpec, dataset: SegDataset, options: DatasetOptions, shown: Callable[[], np.ndarray]
) -> list[int]:
    """Return positions of the images that a subset takes, or of those that it leaves."""
    keys = [dataset.key(index) for index in range(len(dataset))]
    official = sum(options.splits[split][0] for split in spec.splits) if spec.source == "folder" else None
    chosen = choose(subset, keys, dataset=spec.name, official=official, shown=shown)
    if not spec.unlabelled_rest:
        return chosen
    rest = sorted(set(range(len(keys))) - set(chosen))
    if not rest:
        raise InvalidFault(f"subset: count {subset.count:,} leaves none of the {len(keys):,} images without a label.")
    return rest
