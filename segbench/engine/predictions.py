"""Scoring label files: the counts of an evaluation without a network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from segbench.core.errors import Interrupted, MissingFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import DataSpec
from segbench.data import images
from segbench.data.predictions import LabelEncoding
from segbench.data.reader import Pair, label_reader
from segbench.metrics.cityscapes import LabelIds, Tallies
from segbench.metrics.confusion import confusion_matrix
from segbench.metrics.instances import count_image
from segbench.metrics.scores import Tally

from .evaluate import Evaluation
from .instances import Benchmark, label_ids

Counts = NDArray[np.int64]


def count_predictions(
    files: Sequence[Path],
    pairs: Sequence[Pair],
    data: DataSpec,
    meaning: LabelEncoding,
    *,
    title: str,
    observer: Observer = SILENT,
) -> Evaluation:
    """Count label files against the labels of a split.

    Where the data set's benchmark knows label ids, all is counted in these, as its own evaluator does: a predicted id
    that is not scored is wrong wherever a scored one is labelled, and in a category it may be right.

    Args:
        files: a label file for each pair, at its image's size, in the order of the split.
        pairs: images, labels and instance maps.
        data: the split.
        meaning: of the files' values.
        title: of the counting, for the observer.
        observer: told how many were counted, and polled for a stop request between files.

    Raises:
        Interrupted: a stop was requested.
        MissingFault: a label or instance map is missing, broken or of another size.
    """
    known = label_ids(data, meaning.table)
    counting = _InLabelIds(known, meaning) if known is not None else _InTrainIds(data, meaning)
    read = label_reader(data.name)
    counted = observer.counter(title, "files")
    for number, (file, pair) in enumerate(zip(files, pairs, strict=True), 1):
        if observer.stop_requested():
            raise Interrupted("Stopped while scoring; nothing was recorded.", next="the same command again")
        assert pair.label is not None  # of a split that is scored here
        target, predicted = read(pair.label), images.read_indices(file)
        if target.shape != predicted.shape:
            sizes = "{}x{} but its label {}x{}".format(*predicted.shape, *target.shape)
            raise MissingFault(f"{file}: is {sizes}.", next=f"segbench data verify {data.name}")
        counting.count(target, predicted, pair)
        counted(number, len(pairs))
    return counting.result(tuple(pair.key for pair in pairs))


class _InTrainIds:
    """Counts over train ids, with one column more for what is predicted and not scored."""

    def __init__(self, data: DataSpec, meaning: LabelEncoding) -> None:
        self._data, self._meaning = data, meaning
        self._matrices: list[Counts] = []

    def count(self, target: NDArray[np.uint8], predicted: NDArray[np.uint8], pair: Pair) -> None:
        table = self._meaning.table
        try:
            label = table.to_train_ids(target)
        except ValueError as error:
            fault = f"{pair.label}: label values {error} are not in class table {table.name}."
            raise MissingFault(fault, next=f"segbench data verify {self._data.name}") from None
        ids, count = torch.from_numpy(self._meaning.lookup[predicted]), table.num_classes
        matrix = confusion_matrix(torch.from_numpy(label), ids, num_classes=count + 1, name=pair.key)
        self._matrices.append(matrix.numpy()[:count])

    def result(self, keys: tuple[str, ...]) -> Evaluation:
        return _evaluation(np.stack(self._matrices), keys, None)


class _InLabelIds:
    """Counts over the label ids of a benchmark, instances included."""

    def __init__(self, labels: LabelIds, meaning: LabelEncoding) -> None:
        self._labels = labels
        self._ids = np.arange(256, dtype=np.uint8)
        if meaning.encoding == "train-ids":
            self._ids[: len(labels.train_ids)] = labels.train_ids
        self._tallies: list[Tallies] = []
        self._has_instances = True

    def count(self, target: NDArray[np.uint8], predicted: NDArray[np.uint8], pair: Pair) -> None:
        there = pair.instances is not None and pair.instances.is_file()
        self._has_instances &= there
        instances = (
            images.read_instances(pair.instances) if there and pair.instances else np.zeros(target.shape, np.int32)
        )
        if instances.shape != target.shape:
            sizes = "{}x{} but its label {}x{}".format(*instances.shape, *target.shape)
            raise MissingFault(f"{pair.instances}: is {sizes}.", next="segbench data verify")
        self._tallies.append(count_image(target, self._ids[predicted], instances, self._labels))

    def result(self, keys: tuple[str, ...]) -> Evaluation:
        joined = Tallies.join(self._tallies)
        ids = np.array(self._labels.train_ids)
        rows = joined.matrices[:, ids]
        inside = rows[:, :, ids]
        outside = rows.sum(2, keepdims=True) - inside.sum(2, keepdims=True)
        instances = joined.instances if self._has_instances else None
        benchmark = Benchmark(self._labels, joined.matrices, instances, of_label_ids=True)
        return _evaluation(np.concatenate([inside, outside], 2), keys, benchmark)


def _evaluation(matrices: Counts, keys: tuple[str, ...], benchmark: Benchmark | None) -> Evaluation:
    """From matrices (N, C, C + 1), the last column for what is not scored."""
    inside = matrices[:, :, :-1]
    tally = Tally(np.diagonal(inside, axis1=1, axis2=2).copy(), inside.sum(1), matrices.sum(2))
    return Evaluation(matrices.sum(0), tally, keys, 0.0, benchmark)
