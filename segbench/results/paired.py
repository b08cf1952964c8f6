"""Two evaluations of the same images: what differs, and how sure that is.

Intervals come from resampling blocks of images: images of one sequence or city resemble each other, so they are drawn
together.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from segbench.core.errors import InvalidFault
from segbench.metrics.scores import Tally, iou_per_class

FEWEST_BLOCKS = 6
RUNS = 20  # blocks of consecutive images where the names give too few
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluated:
    """One side of a comparison.

    Attributes:
        name: for people.
        dataset, split: what was scored.
        classes: names in the order of the counts.
        tallies: counts of every image, (images, C) each, one a seed.
        matrices: confusion matrices (C, C), labels as rows, one a seed.
        spec: evaluation protocol.
    """

    name: str
    dataset: str
    split: str
    classes: tuple[str, ...]
    tallies: tuple[Tally, ...]
    matrices: tuple[NDArray[np.int64], ...] = ()
    spec: dict[str, object] = field(default_factory=dict)

    @property
    def images(self) -> int:
        return len(self.tallies[0].target)


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval over blocks of images; shares in percent."""

    value: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """True if 0 lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """Second less first.

    Attributes:
        first, second: the two sides.
        miou: difference of the mIoU.
        classes: difference of the IoU by class; a class that either side lacks is left out.
        confusions: (label, prediction, change): the shares of a label's pixels, in percent, that changed most.
        images: (position, change): images whose mIoU changed most, the largest loss first.
        blocks: number of blocks, and ``block`` what they are.
        notes: differences of the two protocols.
    """

    first: Evaluated
    second: Evaluated
    miou: Interval
    classes: dict[str, Interval]
    confusions: tuple[tuple[str, str, float], ...]
    images: tuple[tuple[int, float], ...]
    blocks: int
    block: str
    notes: tuple[str, ...] = ()


def require_paired(sides: Sequence[Evaluated]) -> None:
    """Raise unless all sides scored the same images and classes.

    Raises:
        InvalidFault: a line for each side that did not.
    """
    first, faults = sides[0], []
    for other in sides[1:]:
        if (other.dataset, other.split) != (first.dataset, first.split):
            where = f"{other.dataset} {other.split}, {first.name} on {first.dataset} {first.split}"
            faults.append(f"{other.name} was scored on {where}.")
        elif other.classes != first.classes:
            faults.append(f"{other.name} has other classes than {first.name}.")
        elif any(len(tally.target) != first.images for tally in other.tallies):
            faults.append(f"{other.name} was scored on {other.images:,} images, {first.name} on {first.images:,}.")
    if faults:
        raise InvalidFault(*faults, next="segbench compare --help")


def blocks_of(keys: Sequence[str] | None, images: int) -> tuple[NDArray[np.int64], str]:
    """Return the block of every image, and what the blocks are.

    The name of an image up to its first ``_`` is its sequence or city, as in Cityscapes and CamVid. Where names are
    unknown or give too few blocks, 20 runs of consecutive images are taken.

    Args:
        keys: names of the images in order, ``split/name``; None if unknown.
        images: number of images.
    """
    if keys is not None:
        starts = [key.rsplit("/", 1)[-1].split("_")[0] for key in keys]
        names, found = np.unique(starts, return_inverse=True)
        if FEWEST_BLOCKS <= len(names) <= images // 2:
            return found.astype(np.int64), "sequences"
    count = min(RUNS, images)
    return np.arange(images, dtype=np.int64) * count // images, "runs of consecutive images"


def compare_pair(
    first: Evaluated, second: Evaluated, *, keys: Sequence[str] | None = None, resamples: int = 1000, most: int = 5
) -> Comparison:
    """Compare two evaluations.

    Args:
        first, second: the two sides.
        keys: names of the images in order, which tell sequences apart; None if unknown.
        resamples: draws of the bootstrap.
        most: number of confusions and images to name.

    Raises:
        InvalidFault: they are not of the same images and classes.
    """
    require_paired([first, second])
    block_of, kind = blocks_of(keys, first.images)
    number = int(block_of.max()) + 1
    sides = [[_by_block(tally, block_of, number) for tally in side.tallies] for side in (first, second)]
    whole = np.ones((1, number))
    value = _differences(sides, whole)[0]
    drawn = _bootstrap(sides, number, resamples)
    classes = {
        name: Interval(float(value[at]), *map(float, drawn[:, at]))
        for at, name in enumerate(first.classes)
        if np.isfinite(value[at])
    }
    return Comparison(
        first, second, Interval(float(value[-1]), *map(float, drawn[:, -1])), classes,
        tuple(_confusions(first, second, most)), tuple(_images(first, second, most)), number, kind,
        tuple(_protocols(first, second)),
    )  # fmt: skip


def tiers(sides: Sequence[Evaluated], *, keys: Sequence[str] | None = None, resamples: int = 1000) -> list[list[int]]:
    """Sort evaluations by mIoU into tiers: within one, none can be told from its best.

    Returns:
        Positions in ``sides``, the best tier first.
    """
    require_paired(sides)
    scores = [_differences([[_whole(tally) for tally in side.tallies]], np.ones((1, 1)))[0, -1] for side in sides]
    found: list[list[int]] = []
    for at in sorted(range(len(sides)), key=lambda at: -scores[at]):
        if found:
            best = found[-1][0]
            if not compare_pair(sides[at], sides[best], keys=keys, resamples=resamples).miou.is_sure:
                found[-1].append(at)
                continue
        found.append([at])
    return found


def _by_block(tally: Tally, block_of: NDArray[np.int64], number: int) -> Floats:
    """Return the counts (3, blocks, C) of each block."""
    found = np.zeros((3, number, tally.target.shape[-1]))
    for place, counts in enumerate((tally.true_positive, tally.predicted, tally.target)):
        np.add.at(found[place], block_of, counts)
    return found


def _whole(tally: Tally) -> Floats:
    return _by_block(tally, np.zeros(len(tally.target), np.int64), 1)


def _differences(sides: Sequence[Sequence[Floats]], weights: Floats) -> Floats:
    """Return IoU by class and, last, mIoU in percent, (draws, C + 1): of one side, or second less first.

    Args:
        sides: counts (3, blocks, C) of every seed of each side; a side is the mean over its seeds.
        weights: how often each block is drawn, (draws, blocks).
    """
    found = []
    for side in sides:
        scores = []
        for counts in side:
            hit, predicted, target = (weights @ counts[place] for place in range(3))
            either = predicted + target - hit
            iou = 100 * np.divide(hit, either, out=np.full_like(hit, np.nan), where=either > 0)
            seen = np.isfinite(iou)
            mean = np.where(seen, iou, 0).sum(1) / np.maximum(seen.sum(1), 1)
            scores.append(np.concatenate([iou, mean[:, None]], 1))
        found.append(np.mean(scores, axis=0))
    return found[0] if len(found) == 1 else found[1] - found[0]


def _bootstrap(sides: Sequence[Sequence[Floats]], number: int, resamples: int) -> Floats:
    """Return the 95 % percentile intervals (2, C + 1) over resampled blocks, of a class over draws that show it."""

    def statistic(drawn: NDArray[np.int64], axis: int = -1) -> Floats:
        rows = drawn.reshape(-1, number)
        weights = np.stack([np.bincount(row, minlength=number) for row in rows.astype(np.int64)]).astype(np.float64)
        return np.moveaxis(_differences(sides, weights), 0, -1).reshape(-1, *drawn.shape[:-1])

    with warnings.catch_warnings():
        # Its own interval knows no class that is missing in some draws; the draws are what is wanted.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (np.arange(number),), statistic, n_resamples=resamples, vectorized=True, method="percentile",
            rng=np.random.default_rng(0),
        ).bootstrap_distribution  # fmt: skip
        warnings.simplefilter("ignore", RuntimeWarning)  # a class of neither side
        return np.asarray(np.nanpercentile(drawn, [2.5, 97.5], axis=-1))


def _confusions(first: Evaluated, second: Evaluated, most: int) -> list[tuple[str, str, float]]:
    """Return the pairs of label and prediction whose share of the label's pixels changed most."""
    if not first.matrices or not second.matrices:
        return []
    shares = []
    for side in (first, second):
        matrix = np.mean(side.matrices, axis=0)
        shares.append(100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1))
    change = shares[1] - shares[0]
    np.fill_diagonal(change, 0)
    order = np.argsort(-np.abs(change), axis=None)[:most]
    pairs = [(int(at) // len(change), int(at) % len(change)) for at in order]
    return [(first.classes[a], first.classes[b], float(change[a, b])) for a, b in pairs if change[a, b]]


def _images(first: Evaluated, second: Evaluated, most: int) -> list[tuple[int, float]]:
    """Return the images whose own mIoU changed most, losses first."""
    with np.errstate(invalid="ignore"):
        means = [
            np.mean([np.nanmean(100 * iou_per_class(tally), axis=1) for tally in side.tallies], axis=0)
            for side in (first, second)
        ]
    change = means[1] - means[0]
    order = [int(at) for at in np.argsort(-np.abs(np.nan_to_num(change)))[:most] if np.isfinite(change[at])]
    return [(at, float(change[at])) for at in sorted(order, key=lambda at: change[at])]


def _protocols(first: Evaluated, second: Evaluated) -> list[str]:
    names = sorted({*first.spec, *second.spec})
    return [
        f"{name}: {first.spec.get(name, 'default')} and {second.spec.get(name, 'default')}"
        for name in names
        if first.spec.get(name) != second.spec.get(name)
    ]
