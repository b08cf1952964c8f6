"""Features of a split's pixels by class, in bounded memory: the mean of all of them and a sample of each class.

The mean distance within a class is over all pairs of its pixels, which are too many; a sample is drawn instead. Every
pixel has a random priority that follows from the seed, the name of its image and its position, and a class keeps the
pixels of lowest priority: a simple random sample that does not depend on the order of the images.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .geometry import alignment, neighborhood_uniformity, uniformity

Length = Literal["raw", "unit"]
LENGTHS: tuple[Length, ...] = ("raw", "unit")
NEIGHBOURS = (3, 5)  # numbers of neighbours in published tables
_VALUES_AT_ONCE = 1 << 22  # values converted to double precision at once
_EPS = 1e-12  # smallest norm to divide by, so that a zero feature stays zero


@dataclass(frozen=True)
class FeatureScores:
    """Scores of the features of a split.

    Attributes:
        length: length of the features whose scores have the plain names.
        values: alignment A, uniformity U, their ratio, U_3 and U_5, of raw features and of unit features; NaN if
            undefined.
        pixels: (C,) number of pixels of each class on the feature maps.
        sampled: (C,) number of pixels of each class in the sample.
    """

    length: Length
    values: dict[Length, dict[str, float]]
    pixels: NDArray[np.int64]
    sampled: NDArray[np.int64]

    def figures(self) -> dict[str, float]:
        """Return all defined scores; names of the other length end in ``_raw`` or ``_unit``."""
        return {
            name if each == self.length else f"{name}_{each}": value
            for each, values in self.values.items()
            for name, value in values.items()
            if math.isfinite(value)
        }

    def about(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the numbers of pixels behind the scores, by class name; a class without pixels enters no score."""
        rows = zip(names, self.pixels.tolist(), self.sampled.tolist(), strict=True)
        return {name: {"pixels": pixels, "sampled": sampled} for name, pixels, sampled in rows}


class ClassFeatures:
    """Accumulator of the features of images.

    Args:
        num_classes: C; pixels with other labels are ignored.
        length: length of the features whose scores have the plain names; both are computed.
        per_class: largest number of pixels of a class in the sample.
        seed: seed of the sample.
        device: device of the sample, which has per_class * C * K values.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        length: Length = "raw",
        per_class: int = 2000,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self._classes, self._length, self._per_class, self._seed = num_classes, length, per_class, seed
        wanted = torch.device(device)
        self._device = torch.device("cpu") if wanted.type == "mps" else wanted  # MPS has no double precision
        self._pixels = np.zeros(num_classes, np.int64)
        self._priorities = [np.zeros(0, np.uint64) for _ in range(num_classes)]  # by slot
        self._samples: Tensor | None = None  # (C * per_class, K)
        self._sums: dict[Length, Tensor] = {}  # (K, C) each, double precision

    def update(self, features: Tensor, labels: NDArray[np.uint8], *, key: str) -> None:
        """Add an image. The host decides which pixels to keep; there is no synchronisation with the device.

        Args:
            features: (K, h, w), any float dtype.
            labels: (h, w) train ids.
            key: name of the image; add each image once.

        Raises:
            ValueError: shapes differ.
        """
        if features.ndim != 3 or features.shape[1:] != labels.shape:
            raise ValueError(f"features {tuple(features.shape)} and labels {labels.shape} must agree")
        flat = labels.ravel()
        found = np.bincount(flat, minlength=256)[: self._classes]
        self._pixels += found
        values = features.detach().to(self._device).flatten(1)
        self._add(values, flat)
        slots, places = self._draw(flat, np.flatnonzero(found), key)
        if self._samples is None:
            self._samples = torch.zeros(self._classes * self._per_class, len(values), device=self._device)
        if len(slots):
            chosen = values[:, torch.from_numpy(places).to(self._device)]
            self._samples[torch.from_numpy(slots).to(self._device)] = chosen.T.float()

    def sample(self, label: int) -> Tensor:
        """Return the sampled features of a class, (n, K) float64, by priority, hence in no order of the images."""
        assert self._samples is not None
        order = np.argsort(self._priorities[label]) + label * self._per_class
        return self._samples[torch.from_numpy(order).to(self._device)].double()

    def scores(self) -> FeatureScores:
        """Return the scores of all images so far."""
        present = np.flatnonzero(self._pixels).tolist()
        sampled = np.array([len(each) for each in self._priorities])
        values: dict[Length, dict[str, float]] = {}
        for length in LENGTHS:
            centres = torch.zeros(0, 1)
            if present:
                centres = torch.stack([self._sums[length][:, each] / int(self._pixels[each]) for each in present])
            samples = (_of_length(self.sample(each), length) for each in present)
            within = alignment(samples, [int(self._pixels[each]) for each in present])
            between = uniformity(centres)
            values[length] = {
                "alignment": within,
                "uniformity": between,
                "alignment_over_uniformity": within / between if between else math.nan,
                **{f"neighborhood_uniformity_{n}": neighborhood_uniformity(centres, n) for n in NEIGHBOURS},
            }
        return FeatureScores(self._length, values, self._pixels.copy(), sampled)

    def _add(self, values: Tensor, labels: NDArray[np.uint8]) -> None:
        """Add (K, P) features to the sums of their classes.

        Matrix products in double precision are deterministic, unlike ``index_add_``.
        """
        if not self._sums:
            zeros = torch.zeros(len(values), self._classes, dtype=torch.float64, device=self._device)
            self._sums = {length: zeros.clone() for length in LENGTHS}
        index = torch.from_numpy(labels).to(self._device)
        classes = torch.arange(self._classes, device=self._device)
        step = max(1, _VALUES_AT_ONCE // len(values))
        for start in range(0, values.shape[1], step):
            chunk = values[:, start : start + step].double()
            members = (index[start : start + step, None] == classes).double()
            norms = chunk.square().sum(0).sqrt_().clamp_(min=_EPS)
            sums = chunk @ torch.cat([members, members / norms[:, None]], 1)
            for length, sum_ in zip(LENGTHS, sums.split(self._classes, 1), strict=True):
                self._sums[length] += sum_

    def _draw(
        self, labels: NDArray[np.uint8], present: NDArray[np.int64], key: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw pixels of an image: return the slots that they take in the sample, and their positions in the image."""
        priorities = _priorities(labels.size, self._seed, key)
        slots, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for each in present:
            held = self._priorities[each]
            own = np.flatnonzero(labels == each)
            if len(held) == self._per_class:
                own = own[priorities[own] < held.max()]
            new = priorities[own]
            both = np.concatenate([held, new])
            kept = np.ones(len(both), bool)
            if len(both) > self._per_class:
                kept[np.argpartition(both, self._per_class)[self._per_class :]] = False
            free = np.concatenate([np.flatnonzero(~kept[: len(held)]), np.arange(len(held), self._per_class)])
            entered = kept[len(held) :]
            taken = free[: np.count_nonzero(entered)]
            grown = np.zeros(min(len(both), self._per_class), np.uint64)
            grown[: len(held)] = held
            grown[taken] = new[entered]
            self._priorities[each] = grown
            slots.append(each * self._per_class + taken)
            places.append(own[entered])
        return np.concatenate(slots), np.concatenate(places)


def _of_length(features: Tensor, length: Length) -> Tensor:
    """Return (n, K) features unchanged or scaled to unit length; a zero feature stays zero."""
    return features if length == "raw" else features / features.norm(dim=1, keepdim=True).clamp_(min=_EPS)


def _priorities(number: int, seed: int, key: str) -> NDArray[np.uint64]:
    """Return a random integer for each pixel of an image, the same on every machine."""
    words = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    found: NDArray[np.uint64] = np.random.PCG64(int.from_bytes(words, "big")).random_raw(number)
    return found
