"""Geometry of classes in feature space: alignment, uniformity and neighbourhood uniformity.

Contextrast supplement, section 2, eq. (1) to (3), after Li et al., CVPR 2022. Distances are Euclidean and not squared.
Features are not normalised; that is the caller's choice. With N classes of unit features the uniformity is at most
sqrt(2N / (N - 1)).
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_ROWS = 512  # rows of the distance matrix that are computed at once


def mean_distance(features: Tensor, *, population: int) -> float:
    """Return the mean distance of a class's features over all pairs, each with itself included: inner term of eq. (1).

    For a sample it is the unbiased estimate for the population that it was drawn from.

    Args:
        features: (n, K), n >= 1.
        population: number of pixels of the class, at least n.

    Returns:
        The mean; NaN for a sample of one out of several pixels.
    """
    number = len(features)
    if population == 1:
        return 0.0
    if number < 2:
        return math.nan
    # Centred, so that the products below do not cancel small distances.
    features = features.double()
    features = features - features.mean(0)
    squares = features.square().sum(1)
    total = features.new_zeros(())
    for start in range(0, number, _ROWS):
        rows = features[start : start + _ROWS]
        distances = squares[start : start + _ROWS, None] + squares - 2 * rows @ features.T
        distances.diagonal(start).zero_()  # the root would enlarge its rounding error
        total += distances.clamp_(min=0).sqrt_().sum()
    return float(total) / (number * (number - 1)) * (population - 1) / population


def alignment(samples: Iterable[Tensor], populations: Sequence[int]) -> float:
    """Return the intra-class alignment A, eq. (1); small if the features of a class lie close together.

    Args:
        samples: (n_i, K) features of each class that occurs.
        populations: number of pixels of each of these classes.

    Returns:
        The mean over classes; NaN without any.
    """
    means = [mean_distance(each, population=number) for each, number in zip(samples, populations, strict=True)]
    return sum(means) / len(means) if means else math.nan


def uniformity(centres: Tensor) -> float:
    """Return the inter-class uniformity U, eq. (2); large if the centres lie far from each other.

    Args:
        centres: (N, K) mean features of the classes that occur.

    Returns:
        The mean distance of two centres; NaN with fewer than two.
    """
    return neighborhood_uniformity(centres, len(centres) - 1)


def neighborhood_uniformity(centres: Tensor, neighbours: int) -> float:
    """Return the neighbourhood uniformity U_l, eq. (3): mean distance of a centre to its l nearest neighbours.

    The inner sum is printed up to l with j = i left out; l neighbours are meant, as the text says.

    Args:
        centres: (N, K) mean features of the classes that occur.
        neighbours: l.

    Returns:
        The mean; NaN with fewer than l + 1 classes.
    """
    number = len(centres)
    if not 0 < neighbours < number:
        return math.nan
    centres = centres.double()
    distances = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(math.inf)
    return float(distances.sort(dim=1).values[:, :neighbours].mean())
