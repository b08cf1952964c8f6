"""Features of a split's pixels by class, in bounded memory: the centre of all of them and a sample of each class.

The mean distance within a class runs over all pairs of its pixels, which no split allows; a sample is drawn instead.
Every pixel has a random priority that follows from the seed, its image's name and its place, and a class keeps its
pixels of lowest priority: a simple random sample of all of them that no order of the images changes.
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
NEIGHBOURS = (3, 5)  # those that are printed
_VALUES_AT_ONCE = 1 << 22  # in double precision
_SMALLEST = 1e-12  # length that a feature is divided by: one of zeros stays


@dataclass(frozen=True)
class FeatureScores:
    """What the features of a split come to.

    Attributes:
        length: which features were asked for.
        values: alignment A, uniformity U, their quotient and U_3 and U_5, of raw features and of those of unit length;
            what is undefined is NaN.
        pixels: (C,) pixels of each class on the map of features.
        sampled: (C,) how many of them the alignment knows.
    """

    length: Length
    values: dict[Length, dict[str, float]]
    pixels: NDArray[np.int64]
    sampled: NDArray[np.int64]

    def figures(self) -> dict[str, float]:
        """All that is defined: as asked for by name, of the other length with ``_raw`` or ``_unit`` behind it."""
        return {
            name if each == self.length else f"{name}_{each}": value
            for each, values in self.values.items()
            for name, value in values.items()
            if math.isfinite(value)
        }

    def about(self, names: tuple[str, ...]) -> dict[str, Any]:
        """How many pixels the figures rest on, by class; a class without any counts nowhere."""
        rows = zip(names, self.pixels.tolist(), self.sampled.tolist(), strict=True)
        return {name: {"pixels": pixels, "sampled": sampled} for name, pixels, sampled in rows}


class ClassFeatures:
    """Gathers features image by image.

    Args:
        num_classes: C; other labels count nowhere.
        length: which features bear the names of the figures; both are gathered.
        per_class: most pixels of a class in the sample.
        seed: of the sample.
        device: where features are kept, per_class * C * K numbers of them.
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
        kind = torch.device(device)
        self._device = torch.device("cpu") if kind.type == "mps" else kind  # which has no double precision
        self._pixels = np.zeros(num_classes, np.int64)
        self._priorities = [np.zeros(0, np.uint64) for _ in range(num_classes)]  # by slot
        self._samples: Tensor | None = None  # (C * per_class, K)
        self._sums: dict[Length, Tensor] = {}  # (K, C) each, double precision

    def update(self, features: Tensor, labels: NDArray[np.uint8], *, key: str) -> None:
        """Add an image. Which pixels are kept is decided on the host; the device is told once and never asked.

        Args:
            features: (K, h, w), any float type.
            labels: (h, w) train ids.
            key: name of the image; each name is to be added once.

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

    def sample(self, each: int) -> Tensor:
        """Features (n, K) of a class in double precision, by priority: the order of the images leaves no trace."""
        assert self._samples is not None
        order = np.argsort(self._priorities[each]) + each * self._per_class
        return self._samples[torch.from_numpy(order).to(self._device)].double()

    def scores(self) -> FeatureScores:
        """All figures of what was added."""
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

        As products of matrices in double precision: unlike sums by index, these come out alike on every run.
        """
        if not self._sums:
            zeros = torch.zeros(len(values), self._classes, dtype=torch.float64, device=self._device)
            self._sums = {length: zeros.clone() for length in LENGTHS}
        index = torch.from_numpy(labels).to(self._device)
        classes = torch.arange(self._classes, device=self._device)
        step = max(1, _VALUES_AT_ONCE // len(values))
        for start in range(0, values.shape[1], step):
            part = values[:, start : start + step].double()
            members = (index[start : start + step, None] == classes).double()
            norms = part.square().sum(0).sqrt_().clamp_(min=_SMALLEST)
            sums = part @ torch.cat([members, members / norms[:, None]], 1)
            for length, sum_ in zip(LENGTHS, sums.split(self._classes, 1), strict=True):
                self._sums[length] += sum_

    def _draw(
        self, labels: NDArray[np.uint8], present: NDArray[np.int64], key: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Slots that pixels of an image take in the sample, and the places of these pixels in it."""
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
    """(n, K) features as they are or brought to unit length; a feature of zeros stays."""
    return features if length == "raw" else features / features.norm(dim=1, keepdim=True).clamp_(min=_SMALLEST)


def _priorities(number: int, seed: int, key: str) -> NDArray[np.uint64]:
    """Random whole numbers for the pixels of an image, the same on every machine."""
    words = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    found: NDArray[np.uint64] = np.random.PCG64(int.from_bytes(words, "big")).random_raw(number)
    return found
