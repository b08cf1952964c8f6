"""How classes lie in feature space: alignment, uniformity and neighbourhood uniformity.

Contextrast supplement, section 2, eq. (1) to (3), after Li et al., CVPR 2022. Distances are Euclidean and not squared.
Features are taken as they are; whether they have unit length is the caller's choice. Of N classes whose features have
unit length the uniformity is at most sqrt(2N / (N - 1)).
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_ROWS = 512  # of distances at once


def mean_distance(features: Tensor, *, population: int) -> float:
    """Mean distance of a class's features, the inner term of eq. (1): over all pairs, a feature with itself included.

    Of a sample it is the unbiased estimate for the population that it was drawn from; of the population itself it is
    the term.

    Args:
        features: (n, K), n >= 1.
        population: how many pixels the class has, at least n.

    Returns:
        The mean; NaN where one feature of several is known.
    """
    number = len(features)
    if population == 1:
        return 0.0
    if number < 2:
        return math.nan
    # Around their mean, lest the products below lose what is small beside it.
    features = features.double()
    features = features - features.mean(0)
    squares = features.square().sum(1)
    total = features.new_zeros(())
    for start in range(0, number, _ROWS):
        rows = features[start : start + _ROWS]
        distances = squares[start : start + _ROWS, None] + squares - 2 * rows @ features.T
        distances.diagonal(start).zero_()  # its rounding would not be small after the root
        total += distances.clamp_(min=0).sqrt_().sum()
    return float(total) / (number * (number - 1)) * (population - 1) / population


def alignment(samples: Iterable[Tensor], populations: Sequence[int]) -> float:
    """Intra-class alignment A, eq. (1); small where the features of a class lie close together.

    Args:
        samples: (n_i, K) of each class that occurs.
        populations: pixels of each of them.

    Returns:
        The mean over classes; NaN without any.
    """
    means = [mean_distance(each, population=number) for each, number in zip(samples, populations, strict=True)]
    return sum(means) / len(means) if means else math.nan


def uniformity(centres: Tensor) -> float:
    """Inter-class uniformity U, eq. (2); large where the centres lie far from each other.

    Args:
        centres: (N, K), of the classes that occur.

    Returns:
        The mean distance of two centres; NaN with fewer than two.
    """
    return neighborhood_uniformity(centres, len(centres) - 1)


def neighborhood_uniformity(centres: Tensor, neighbours: int) -> float:
    """Neighbourhood uniformity U_l, eq. (3): mean distance of a centre to its l closest others.

    The upper limit of the inner sum is printed as l with j = i left out; l others are meant, as the text says.

    Args:
        centres: (N, K), of the classes that occur.
        neighbours: l.

    Returns:
        The mean; NaN where a class has fewer than l others.
    """
    number = len(centres)
    if not 0 < neighbours < number:
        return math.nan
    centres = centres.double()
    distances = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(math.inf)
    return float(distances.sort(dim=1).values[:, :neighbours].mean())
