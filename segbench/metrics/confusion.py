"""Confusion matrices, counted in int64 on the device of the label and prediction maps.

On a CPU both maps become one 16-bit index (label * C + prediction) that OpenCV's histogram counts, several times as
fast as ``numpy.bincount``. Ignored and invalid labels get rows of their own, so nothing is masked and nothing missed.
On CUDA a histogram with fixed bounds counts without synchronising with the host.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segbench.core.errors import MissingFault

from .scores import Tally

IGNORE_INDEX = 255
_VALUES = 256  # values of a uint8 label
_SMALL = 1 << 16  # pixels below which numpy.bincount has less overhead
_EXACT = 1 << 24  # largest exact count: OpenCV counts in float32


class Confusion:
    """Running confusion matrix of a data set, with every image's counts per class.

    Args:
        num_classes: C, at most 255.
        device: device of the maps. On CUDA, invalid values are raised by ``matrix`` and ``per_image``, so that
            ``update`` never synchronises.
        keep_matrices: keep the matrix of every image, for ``matrices``.
    """

    def __init__(self, num_classes: int, *, device: torch.device | str = "cpu", keep_matrices: bool = False) -> None:
        _check_classes(num_classes)
        self.num_classes = num_classes
        self.keys: list[str] = []
        self._total = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
        self._counts: list[Tensor] = []  # (3, C) each
        self._matrices: list[Tensor] | None = [] if keep_matrices else None
        self._invalid: list[Tensor] = []  # scalars on CUDA, checked later

    def update(self, target: Tensor, prediction: Tensor, *, keys: Sequence[str] = ()) -> None:
        """Count a batch.

        Args:
            target: (N, H, W) or (H, W) integer labels, 0..C-1 or 255 (ignored).
            prediction: integer classes of the same shape, 0..C-1.
            keys: names of the images, for messages and for ``keys``.

        Raises:
            MissingFault: a value is out of range; on CUDA raised later.
            ValueError: shapes differ.
        """
        if target.ndim == 2:
            target, prediction = target[None], prediction[None]
        names = list(keys) or [str(len(self.keys) + i) for i in range(len(target))]
        for name, label, predicted in zip(names, target, prediction, strict=True):
            if label.is_cuda:
                matrix, invalid = _count_cuda(label, predicted, num_classes=self.num_classes)
                self._invalid.append(invalid)
            else:
                matrix = confusion_matrix(label, predicted, num_classes=self.num_classes, name=name)
            self._total += matrix
            self._counts.append(torch.stack((matrix.diagonal(), matrix.sum(0), matrix.sum(1))))
            if self._matrices is not None:
                self._matrices.append(matrix)
            self.keys.append(name)

    def matrix(self) -> NDArray[np.int64]:
        """Return the confusion matrix of all images so far, (C, C) int64, rows labels, columns predictions.

        Raises:
            MissingFault: an image had a value out of range.
        """
        self._check()
        return self._total.cpu().numpy().copy()

    def per_image(self) -> Tally:
        """Return the counts of every image, (N, C) int64 each, in the order of ``keys``.

        Raises:
            MissingFault: an image had a value out of range.
        """
        self._check()
        if not self._counts:
            empty = np.zeros((0, self.num_classes), dtype=np.int64)
            return Tally(empty, empty, empty)
        counts = torch.stack(self._counts).cpu().numpy()
        return Tally(counts[:, 0], counts[:, 1], counts[:, 2])

    def matrices(self) -> NDArray[np.int64]:
        """Return the confusion matrix of every image, (N, C, C) int64, in the order of ``keys``.

        Raises:
            MissingFault: an image had a value out of range.
            ValueError: ``keep_matrices`` was off.
        """
        if self._matrices is None:
            raise ValueError("the matrices of single images were not kept")
        self._check()
        if not self._matrices:
            return np.zeros((0, self.num_classes, self.num_classes), dtype=np.int64)
        return torch.stack(self._matrices).cpu().numpy()

    def _check(self) -> None:
        if not self._invalid:
            return
        invalid = torch.stack(self._invalid).cpu().tolist()
        faulty = [(key, count) for key, count in zip(self.keys, invalid, strict=True) if count]
        if faulty:
            raise MissingFault(
                *(
                    f"{key}: {count} pixels have a prediction outside 0..{self.num_classes - 1}, "
                    f"or a label that is neither there nor {IGNORE_INDEX}."
                    for key, count in faulty
                ),
                next="segbench data verify",
            )


def confusion_matrix(target: Tensor, prediction: Tensor, *, num_classes: int, name: str = "") -> Tensor:
    """Count a confusion matrix; on CUDA this synchronises with the host, unlike ``Confusion``.

    Args:
        target: integer labels of any shape; 0..C-1 or 255 (ignored).
        prediction: integer classes of the same shape, 0..C-1, also where the label is ignored.
        num_classes: C, at most 255.
        name: name of the image, for messages.

    Returns:
        (C, C) int64 on the maps' device; rows labels, columns predictions.

    Raises:
        MissingFault: a value is out of range; the message says which and how often.
        ValueError: shapes or devices differ, maps are not integer, or C is out of range.
    """
    _check_classes(num_classes)
    if target.shape != prediction.shape or target.device != prediction.device:
        raise ValueError(
            f"label and prediction maps must agree: {tuple(target.shape)} on {target.device}, "
            f"{tuple(prediction.shape)} on {prediction.device}"
        )
    if target.is_floating_point() or prediction.is_floating_point():
        raise ValueError(f"maps must be integer, not {target.dtype} and {prediction.dtype}")
    if target.is_cuda:
        matrix, invalid = _count_cuda(target, prediction, num_classes=num_classes)
        if not int(invalid):
            return matrix
        target, prediction = target.cpu(), prediction.cpu()  # for the message
    labels, predicted = _as_uint8(target, "label", name), _as_uint8(prediction, "prediction", name)
    return torch.from_numpy(_count_cpu(labels, predicted, num_classes, name))


def _count_cpu(target: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int, name: str) -> NDArray[np.int64]:
    if prediction.size and (worst := int(prediction.max())) >= classes:
        count = np.count_nonzero(prediction >= classes)
        raise _out_of_range("prediction", name, f"{worst} ({count} pixels in all)", classes)
    counts = _histogram(target, prediction, classes)
    bad = counts[classes:IGNORE_INDEX].sum(1)
    if bad.any():
        shown = ", ".join(f"{classes + i} ({bad[i]} pixels)" for i in np.flatnonzero(bad)[:5])
        raise _out_of_range("label", name, shown, classes)
    return counts[:classes]


def _histogram(target: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count pairs (label, prediction) of (H, W) maps with predictions < classes, (256, classes) int64."""
    if target.size > _EXACT:
        axis = int(target.shape[1] > target.shape[0])
        halves = zip(np.array_split(target, 2, axis), np.array_split(prediction, 2, axis), strict=True)
        first, second = (_histogram(t, p, classes) for t, p in halves)
        return first + second
    bins = _VALUES * classes  # at most 65,280: fits 16 bits
    index = target.astype(np.uint16)
    index *= np.uint16(classes)
    index += prediction
    if target.size < _SMALL:
        return np.bincount(index.ravel(), minlength=bins).reshape(_VALUES, classes)
    # Neighbouring pixels mostly fall into the same bin, whose increments depend on each other. Neighbouring columns
    # therefore count in different copies of the histogram, if 16 bits leave room for them.
    copies = min(4, (1 << 16) // bins)
    if copies > 1:
        index += (np.arange(index.shape[1]) % copies * bins).astype(np.uint16)
    counts = cv2.calcHist([index], [0], None, [copies * bins], [0, copies * bins])
    return counts.reshape(copies, _VALUES, classes).astype(np.int64).sum(0)


def _count_cuda(target: Tensor, prediction: Tensor, *, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return the (C, C) matrix and the number of pixels that are neither counted nor ignored, both on the device."""
    bins = num_classes * num_classes
    labels = target.to(torch.int32)
    predicted = prediction.to(torch.int32)
    valid = (labels >= 0) & (labels < num_classes) & (predicted >= 0) & (predicted < num_classes)
    # One spare bin takes everything else; fixed bounds avoid a synchronisation.
    index = torch.where(valid, labels * num_classes + predicted, bins)
    counts = torch.histc(_countable(index), bins=bins + 1, min=0, max=bins + 1)
    matrix = counts[:bins].reshape(num_classes, num_classes).to(torch.int64)
    in_range = (labels == IGNORE_INDEX) & (predicted >= 0) & (predicted < num_classes)
    return matrix, labels.numel() - matrix.sum() - in_range.sum()


def _countable(index: Tensor) -> Tensor:
    return index if index.is_cuda else index.double()  # histc on a CPU takes no integers; tests only


def _as_uint8(values: Tensor, what: str, name: str) -> NDArray[np.uint8]:
    """Return a map as uint8, two-dimensional and contiguous; raise if a value does not fit."""
    if values.dtype != torch.uint8:
        if values.numel():
            low, high = (int(v) for v in values.aminmax())
            if low < 0 or high >= _VALUES:
                raise _out_of_range(what, name, f"{low if low < 0 else high}", _VALUES)
        values = values.to(torch.uint8)
    flat = values.reshape(-1, values.shape[-1] if values.ndim else 1)
    return np.ascontiguousarray(flat.numpy())


def _out_of_range(what: str, name: str, shown: str, classes: int) -> MissingFault:
    ignored = f" and is not {IGNORE_INDEX}" if what == "label" else ""
    where = f"{name}: " if name else ""
    return MissingFault(
        f"{where}{what} value {shown} lies outside 0..{classes - 1}{ignored}.", next="segbench data verify"
    )


def _check_classes(num_classes: int) -> None:
    if not 1 <= num_classes <= IGNORE_INDEX:
        raise ValueError(f"num_classes must be in 1..{IGNORE_INDEX}, not {num_classes}")
