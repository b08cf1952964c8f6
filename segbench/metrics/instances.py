"""Counts of images for the Cityscapes benchmark, in two passes over the pixels of instances."""

import numpy as np
import torch
from numpy.typing import NDArray

from segbench.core.errors import MissingFault

from .cityscapes import GROUP, LabelIds, Tallies
from .confusion import confusion_matrix

_ADVICE = "segbench data verify"


def count_image(
    target: NDArray[np.uint8], prediction: NDArray[np.uint8], instances: NDArray[np.int32], labels: LabelIds
) -> Tallies:
    """Count one image.

    Args:
        target: (H, W) label ids 0..L-1.
        prediction: (H, W) label ids 0..L-1; ignored ids may be predicted and count as wrong.
        instances: (H, W) integers, id * 1000 + number; values up to 1000 are not instances.
        labels: properties of the ids.

    Raises:
        MissingFault: a value is out of range.
        ValueError: shapes differ.
    """
    matrix = confusion_matrix(torch.from_numpy(target), torch.from_numpy(prediction), num_classes=len(labels.names))
    return Tallies(matrix.numpy()[None], count_instances(instances, prediction, labels))


def count_instances(
    instances: NDArray[np.int32],
    prediction: NDArray[np.uint8],
    labels: LabelIds,
    *,
    train_ids: bool = False,
    image: int = 0,
    name: str = "",
) -> NDArray[np.int64]:
    """Count how many pixels of every instance of a scored class are predicted correctly.

    A histogram over instance values finds the instances and their sizes, a second one over (instance, predicted id)
    the correct pixels of all of them: there is no pass over the image per instance.

    Args:
        instances: (H, W) integers, id * 1000 + number; values up to 1000 are not instances.
        prediction: (H, W) label ids, or train ids.
        labels: properties of the ids.
        train_ids: whether ``prediction`` holds train ids.
        image: number of the image, for the rows.
        name: name of the image, for messages.

    Returns:
        (n, 5) int64 rows as in ``Tallies.instances``, ordered by value.

    Raises:
        MissingFault: an instance of a class without instances, or a prediction out of range.
        ValueError: shapes differ.
    """
    if instances.shape != prediction.shape:
        raise ValueError(f"instance and prediction maps must agree: {instances.shape}, {prediction.shape}")
    flat = instances.ravel()
    places = np.flatnonzero(flat > GROUP)
    values, predicted = flat[places], prediction.ravel()[places]
    columns = np.array(labels.train_ids if train_ids else range(len(labels.names)))
    if predicted.size and (worst := int(predicted.max())) >= len(columns):
        raise MissingFault(f"{_where(name)}prediction value {worst} lies outside 0..{len(columns) - 1}.", next=_ADVICE)
    sizes = _sizes(values, labels, name)
    chosen = np.flatnonzero(sizes)
    chosen = chosen[np.array(labels.scored)[chosen // GROUP]]
    # Instances of ignored classes share one extra row, which is dropped.
    first = np.full(len(sizes), len(chosen) * len(columns))
    first[chosen] = np.arange(len(chosen)) * len(columns)
    counts = np.bincount(first[values] + predicted, minlength=(len(chosen) + 1) * len(columns))
    counts = counts.reshape(-1, len(columns))[: len(chosen)]
    own = chosen[:, None] // GROUP
    right = (counts * (columns == own)).sum(1)
    in_category = (counts * (labels.category_numbers[columns] == labels.category_numbers[own])).sum(1)
    rows = (np.full_like(chosen, image), chosen, sizes[chosen], right, in_category)
    return np.stack(rows, 1).astype(np.int64, copy=False)


def _sizes(values: NDArray[np.int32], labels: LabelIds, name: str) -> NDArray[np.int64]:
    """Count the pixels of every instance value; raise on values of classes without instances."""
    limit = len(labels.names) * GROUP
    worst = int(values.max(initial=0))
    sizes = np.bincount(values if worst < limit else values[values < limit], minlength=1)
    found = np.flatnonzero(sizes)
    sized = np.isin(found // GROUP, list(labels.average_sizes)) | ~np.array(labels.scored)[found // GROUP]
    invalid = [*found[~sized].tolist(), *([worst] if worst >= limit else [])]
    if invalid:
        shown = ", ".join(str(value) for value in invalid[:5])
        raise MissingFault(f"{_where(name)}instance values {shown} are of no class that has instances.", next=_ADVICE)
    return sizes


def _where(name: str) -> str:
    return f"{name}: " if name else ""
