"""Scores of a segmentation from counts alone (numpy, no torch).

Everything derives from three counts per class: true positives TP_c, predicted pixels P_c and labelled pixels
T_c: the diagonal, column sums and row sums of a confusion matrix with labels as rows. Counts have shape (..., C);
leading axes (images) are kept, so the same functions score a data set and each of its images.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]
Absent = Literal["exclude", "zero", "one"]
ABSENT_RULES: tuple[Absent, ...] = get_args(Absent)


@dataclass(frozen=True)
class Tally:
    """Counts per class, int64, each (..., C)."""

    true_positive: Counts
    predicted: Counts
    target: Counts

    @classmethod
    def of(cls, matrix: Counts) -> "Tally":
        """Return the counts of confusion matrices (..., C, C), int64, rows labels, columns predictions."""
        matrix = np.asarray(matrix)
        return cls(np.diagonal(matrix, axis1=-2, axis2=-1).copy(), matrix.sum(-2), matrix.sum(-1))

    def total(self) -> "Tally":
        """Sum over all leading axes: from images to the data set."""
        axes = tuple(range(self.target.ndim - 1))
        return Tally(self.true_positive.sum(axes), self.predicted.sum(axes), self.target.sum(axes))


def iou_per_class(tally: Tally) -> Scores:
    """Return TP / (P + T - TP), (..., C); NaN where a class is neither labelled nor predicted."""
    return _ratio(tally.true_positive, tally.predicted + tally.target - tally.true_positive)


def dice_per_class(tally: Tally) -> Scores:
    """Return 2 TP / (P + T), (..., C); NaN where a class is neither labelled nor predicted."""
    return _ratio(2 * tally.true_positive, tally.predicted + tally.target)


def accuracy_per_class(tally: Tally) -> Scores:
    """Return TP / T (recall), (..., C); NaN where a class is not labelled."""
    return _ratio(tally.true_positive, tally.target)


def class_mean(scores: Scores, *, absent: Absent) -> Scores:
    """Average scores over the classes.

    Args:
        scores: (..., C) scores per class, NaN for absent classes.
        absent: absent classes are left out (``exclude``), or count as 0 (``zero``) or 1 (``one``).

    Returns:
        (...) means; NaN where ``exclude`` leaves nothing.

    Raises:
        ValueError: unknown rule.
    """
    scores = np.asarray(scores, dtype=np.float64)
    missing = np.isnan(scores)
    if absent == "exclude":
        return _ratio(np.where(missing, 0.0, scores).sum(-1), (~missing).sum(-1))
    if absent not in ("zero", "one"):
        raise ValueError(f"absent must be 'exclude', 'zero' or 'one', not {absent!r}")
    return np.where(missing, float(absent == "one"), scores).mean(-1)


def miou(tally: Tally, *, absent: Absent) -> Scores:
    """Return the mean IoU, (...). A class that is predicted but not labelled has IoU 0 and counts."""
    return class_mean(iou_per_class(tally), absent=absent)


def mean_dice(tally: Tally, *, absent: Absent) -> Scores:
    """Return the mean Dice coefficient over the classes (macro), (...)."""
    return class_mean(dice_per_class(tally), absent=absent)


def micro_dice(tally: Tally) -> Scores:
    """Return 2 sum TP / (sum P + sum T) over the classes, (...); with one label a pixel, the pixel accuracy."""
    return _ratio(2 * tally.true_positive.sum(-1), tally.predicted.sum(-1) + tally.target.sum(-1))


def mean_class_accuracy(tally: Tally, *, absent: Absent) -> Scores:
    """Return the mean recall over the classes, (...); a class is ``absent`` here if it is never labelled."""
    return class_mean(accuracy_per_class(tally), absent=absent)


def pixel_accuracy(tally: Tally) -> Scores:
    """Return the share of labelled pixels that are predicted correctly, (...); NaN without a labelled pixel."""
    return _ratio(tally.true_positive.sum(-1), tally.target.sum(-1))


def best_constant_miou(tally: Tally, *, absent: Absent) -> Scores:
    """Return the best mIoU of predicting one class everywhere, (...): a lower bound for any useful network.

    Predicting class k on every one of the A scored pixels gives IoU_k = T_k / A and 0 for every other labelled class.
    """
    area = tally.target.sum(-1, keepdims=True)
    shares = _ratio(tally.target, np.broadcast_to(area, tally.target.shape))
    labelled = tally.target > 0
    best: Scores | None = None
    for k in range(tally.target.shape[-1]):
        scores = np.where(labelled, 0.0, np.nan)
        scores[..., k] = shares[..., k]
        mean = class_mean(scores, absent=absent)
        best = mean if best is None else np.fmax(best, mean)
    assert best is not None
    return best


def frequency_weighted_iou(tally: Tally) -> Scores:
    """Return the IoU weighted by each class's share of the labelled pixels, (...); NaN without a labelled pixel."""
    weighted = np.where(tally.target > 0, tally.target * np.nan_to_num(iou_per_class(tally)), 0.0)
    return _ratio(weighted.sum(-1), tally.target.sum(-1))


def _ratio(numerator: Counts | Scores, denominator: Counts | Scores) -> Scores:
    """Divide; NaN where the denominator is 0."""
    divisor = np.asarray(denominator, dtype=np.float64)
    nan = np.full(divisor.shape, np.nan)
    return np.divide(numerator, divisor, out=nan, where=divisor > 0)
