"""Scores of the Cityscapes benchmark from counts alone (numpy, no torch): IoU and iIoU of classes and categories.

The definitions are those of the benchmark's evaluator (cityscapesScripts 2.3.0, evalPixelLevelSemanticLabeling). With
M the pixel counts of (labelled id, predicted id) over the data set and E the ids that are scored:

- class IoU of c in E: TP / (TP + FN + FP), TP = M[c, c], FN the rest of row c (any prediction, ignored ids included),
  FP the rest of column c within the rows of E (an ignored label is never a false positive);
- category IoU of K: the same with the scored ids of K as one, FP from the rows of E outside K;
- iIoU: TP and FN are sums over instances, each pixel weighted by the average size of its class over the size of its
  instance; FP stays the unweighted one. A category has an iIoU if all its labels have instances; there any id of the
  category is right, ignored ids (caravan, trailer) included, and FP counts those ids too.

A score whose denominator is 0 is NaN.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .scores import Absent, Counts, class_mean

GROUP = 1000  # instance maps hold id * 1000 + number; values up to here are labels without instances, or groups


@dataclass(frozen=True)
class LabelIds:
    """Properties of the label ids 0..L-1.

    Attributes:
        names: name of every id.
        categories: category of every id.
        scored: whether an id's pixels are scored; the others are ignored.
        average_sizes: average number of pixels of an instance, by id, for ids that have instances.
        train_ids: the label id of each train id.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...]
    scored: tuple[bool, ...]
    average_sizes: dict[int, float]
    train_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.names)
        if not count == len(self.categories) == len(self.scored):
            raise ValueError("names, categories and scored must have the same length")
        known = [*self.average_sizes, *self.train_ids]
        if any(not 0 <= label < count for label in known):
            raise ValueError(f"label ids must be in 0..{count - 1}")

    @property
    def classes(self) -> list[int]:
        """Ids that have an IoU."""
        return [label for label, scored in enumerate(self.scored) if scored]

    @property
    def instance_classes(self) -> list[int]:
        """Ids that have an iIoU."""
        return [label for label in self.classes if label in self.average_sizes]

    @property
    def scored_categories(self) -> list[str]:
        """Categories that have an IoU, by their first id."""
        return list(dict.fromkeys(self.categories[label] for label in self.classes))

    @property
    def instance_categories(self) -> list[str]:
        """Categories that have an iIoU."""
        return [name for name in self.scored_categories if all(label in self.average_sizes for label in self.of(name))]

    @cached_property
    def category_numbers(self) -> NDArray[np.int64]:
        """Number of the category of every id, (L,)."""
        numbers = {name: number for number, name in enumerate(dict.fromkeys(self.categories))}
        return np.array([numbers[name] for name in self.categories])

    def of(self, category: str) -> list[int]:
        """Return all ids of a category, ignored ones included."""
        return [label for label, name in enumerate(self.categories) if name == category]


@dataclass(frozen=True)
class Tallies:
    """Counts of images; ``join`` combines those of several images.

    Attributes:
        matrices: (N, L, L) int64 confusion matrices, rows labelled ids, columns predicted ids.
        instances: (n, 5) int64, a row per instance of a scored class: number of its image, value in the instance map,
            pixels, pixels predicted as its class, pixels predicted as any id of its category.
    """

    matrices: Counts
    instances: Counts

    @classmethod
    def of_train_ids(cls, matrices: Counts, instances: Counts, labels: LabelIds) -> "Tallies":
        """Return tallies of confusion matrices (N, C, C) over train ids; ignored ids, which no score needs, stay 0."""
        ids, count = np.array(labels.train_ids), len(labels.names)
        spread = np.zeros((len(matrices), count, count), np.int64)
        spread[:, ids[:, None], ids] = matrices
        return cls(spread, instances)

    @classmethod
    def join(cls, tallies: Sequence["Tallies"]) -> "Tallies":
        """Concatenate tallies and number their images consecutively."""
        instances = [tally.instances.copy() for tally in tallies]
        images = 0
        for tally, rows in zip(tallies, instances, strict=True):
            rows[:, 0] += images
            images += len(tally.matrices)
        return cls(np.concatenate([tally.matrices for tally in tallies]), np.concatenate(instances))


@dataclass(frozen=True)
class CityscapesScores:
    """Scores in 0..1 by name, in the order of the ids; NaN where there is nothing to score."""

    class_iou: dict[str, float]
    class_iiou: dict[str, float]
    category_iou: dict[str, float]
    category_iiou: dict[str, float]

    def means(self, *, absent: Absent) -> dict[str, float]:
        """Return the four averages; the benchmark's own rule is ``exclude``."""
        scores = {
            "miou": self.class_iou,
            "iiou": self.class_iiou,
            "category_miou": self.category_iou,
            "category_iiou": self.category_iiou,
        }
        return {name: float(class_mean(np.array([*own.values()]), absent=absent)) for name, own in scores.items()}


def cityscapes_scores(tallies: Tallies, labels: LabelIds) -> CityscapesScores:
    """Return all scores of a data set."""
    matrix = tallies.matrices.sum(0)
    class_iou, class_iiou, category_iou, category_iiou = {}, {}, {}, {}
    for label in labels.classes:
        true, missed, false = _counts(matrix, [label], [label], labels.classes)
        class_iou[labels.names[label]] = _iou(true, missed, false)
        if label in labels.average_sizes:
            class_iiou[labels.names[label]] = _iou(*_weighted(tallies.instances, [label], labels, column=3), false)
    for category in labels.scored_categories:
        own = [label for label in labels.of(category) if labels.scored[label]]
        category_iou[category] = _iou(*_counts(matrix, own, own, labels.classes))
        if category in labels.instance_categories:
            _, _, false = _counts(matrix, own, labels.of(category), labels.classes)
            category_iiou[category] = _iou(*_weighted(tallies.instances, own, labels, column=4), false)
    return CityscapesScores(class_iou, class_iiou, category_iou, category_iiou)


def _counts(matrix: Counts, own: list[int], right: list[int], scored: list[int]) -> tuple[int, int, int]:
    """Return TP, FN and FP of the labels ``own``, for which predictions in ``right`` are correct."""
    others = [label for label in scored if label not in own]
    true = int(matrix[np.ix_(own, right)].sum())
    return true, int(matrix[own].sum()) - true, int(matrix[np.ix_(others, right)].sum())


def _weighted(instances: Counts, own: list[int], labels: LabelIds, *, column: int) -> tuple[float, float]:
    """Return weighted TP and FN of the instances of labels ``own``; ``column`` holds the correct pixels.

    ``math.fsum`` rounds once, so that the order of images does not matter.
    """
    true, missed = [], []
    for label in own:
        rows = instances[instances[:, 1] // GROUP == label]
        weights = labels.average_sizes[label] / rows[:, 2]
        true += (weights * rows[:, column]).tolist()
        missed += (weights * (rows[:, 2] - rows[:, column])).tolist()
    return math.fsum(true), math.fsum(missed)


def _iou(true: float, missed: float, false: float) -> float:
    union = true + missed + false
    return true / union if union else math.nan
