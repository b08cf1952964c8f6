"""Further scores of a data set's own benchmark beside class IoU, such as iIoU.

A data set whose benchmark does so has a module ``labels`` with ``labels()`` and ``average_instance_size()`` (see
``segbench.data.sets.cityscapes.labels``), and its split offers ``instances(index)``.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segbench.core.errors import MissingFault
from segbench.core.registry import has_module, implementation
from segbench.core.spec import DataSpec
from segbench.data.classes import ClassTable
from segbench.metrics.cityscapes import CityscapesScores, LabelIds, Tallies, cityscapes_scores
from segbench.metrics.instances import count_instances
from segbench.metrics.scores import Absent

_BY_INSTANCE = ("iiou", "category_iiou")


class Images(Protocol):
    """Split of a data set at the size of the evaluation.

    It may have ``instances(index)``: an image's instance map, int32 (H, W); None where there is none, or the images
    are not at their native size.
    """

    def __len__(self) -> int: ...

    def key(self, index: int) -> str: ...

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...


def label_ids(data: DataSpec, table: ClassTable) -> LabelIds | None:
    """Return the label ids of the data set's benchmark; None if it has none or scores other classes."""
    if not has_module("dataset", data.name, "labels"):
        return None
    facts = implementation("dataset", data.name, "labels")
    labels = sorted((label for label in facts.labels() if label.id >= 0), key=lambda label: label.id)
    sizes = facts.average_instance_size()
    scored = sorted((label for label in labels if not label.ignore_in_eval), key=lambda label: label.train_id)
    if tuple(label.name for label in scored) != table.names:
        return None
    return LabelIds(
        names=tuple(label.name for label in labels),
        categories=tuple(label.category for label in labels),
        scored=tuple(not label.ignore_in_eval for label in labels),
        average_sizes={label.id: sizes[label.name] for label in labels if label.has_instances},
        train_ids=tuple(label.id for label in scored),
    )


@dataclass(frozen=True)
class Benchmark:
    """Counts behind the benchmark's scores.

    Attributes:
        labels: label ids of the benchmark.
        matrices: (N, C, C) int64 over train ids, one per image; (N, L, L) over label ids if ``of_label_ids``.
        instances: rows as in ``Tallies.instances``; None unless every image has an instance map.
        of_label_ids: whether label ids were predicted, some of which are not scored.
    """

    labels: LabelIds
    matrices: NDArray[np.int64]
    instances: NDArray[np.int64] | None
    of_label_ids: bool = False

    @cached_property
    def scores(self) -> CityscapesScores:
        """All scores; those by instance are undefined without instances."""
        rows = np.zeros((0, 5), np.int64) if self.instances is None else self.instances
        if self.of_label_ids:
            return cityscapes_scores(Tallies(self.matrices, rows), self.labels)
        return cityscapes_scores(Tallies.of_train_ids(self.matrices, rows, self.labels), self.labels)

    def figures(self, *, absent: Absent) -> dict[str, float]:
        """Return the defined averages in percent, without the class mIoU."""
        means = self.scores.means(absent=absent)
        wanted = [name for name in means if name != "miou" and (self.instances is not None or name not in _BY_INSTANCE)]
        return {name: 100 * means[name] for name in wanted if not np.isnan(means[name])}

    def by_name(self) -> dict[str, dict[str, float | None]]:
        """Return ``class_iiou``, ``category_iou`` and ``category_iiou`` by name in percent; None where undefined."""
        kinds = {"category_iou": self.scores.category_iou}
        if self.instances is not None:
            kinds |= {"class_iiou": self.scores.class_iiou, "category_iiou": self.scores.category_iiou}
        return {
            kind: {name: None if np.isnan(score) else 100 * score for name, score in every.items()}
            for kind, every in kinds.items()
        }

    def counts(self) -> dict[str, NDArray[np.int64]]:
        """Return the arrays to store."""
        return {"matrices": self.matrices} | ({} if self.instances is None else {"instances": self.instances})


class WithInstances:
    """Split that reads the instance map of an image together with it and keeps it until the prediction.

    Args:
        images: the split.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._maps: dict[int, NDArray[np.int32] | None] = {}

    def __len__(self) -> int:
        return len(self._images)

    def key(self, index: int) -> str:
        return self._images.key(index)

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read an image and its label; the instance map is kept for ``take``.

        Raises:
            MissingFault: a file is missing or broken, or the map is of another size.
        """
        pixels, label = self._images.read(index)
        instances = self._images.instances(index) if hasattr(self._images, "instances") else None
        if instances is not None and instances.shape != label.shape:
            sizes = "{}x{} but its label {}x{}".format(*instances.shape, *label.shape)
            raise MissingFault(f"{self.key(index)}: its instance map is {sizes}.", next="segbench data verify")
        self._maps[index] = instances
        return pixels, label

    def take(self, index: int) -> NDArray[np.int32] | None:
        """Return the map of an image that was read, and forget it."""
        return self._maps.pop(index)


class InstanceCounts:
    """Counts of correctly predicted instance pixels.

    Args:
        labels: label ids of the benchmark.
    """

    def __init__(self, labels: LabelIds) -> None:
        self._labels = labels
        self._rows: list[NDArray[np.int64] | None] = []

    def count(self, instances: NDArray[np.int32] | None, prediction: Tensor, *, name: str) -> None:
        """Count the next image by its map and the predicted train ids, (H, W) uint8 on any device.

        Raises:
            MissingFault: the map holds invalid values.
        """
        if instances is None:
            self._rows.append(None)
            return
        predicted, image = prediction.cpu().numpy(), len(self._rows)
        self._rows.append(count_instances(instances, predicted, self._labels, train_ids=True, image=image, name=name))

    def benchmark(self, matrices: NDArray[np.int64]) -> Benchmark:
        """Return all counts, joined with the images' confusion matrices (N, C, C) over train ids."""
        rows = [row for row in self._rows if row is not None]
        whole = bool(rows) and len(rows) == len(self._rows)
        return Benchmark(self._labels, matrices, np.concatenate(rows) if whole else None)
