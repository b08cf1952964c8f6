"""Alignment and uniformities against loops written from the supplement's equations, and shapes with known answers."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from segbench.metrics.geometry import alignment, mean_distance, neighborhood_uniformity, uniformity

RANDOM = np.random.default_rng(7)


def distance(one, other) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))


def alignment_by_hand(classes) -> float:
    """Eq. (1)."""
    return sum(sum(distance(a, b) for a in v for b in v) / len(v) ** 2 for v in classes) / len(classes)


def uniformity_by_hand(centres) -> float:
    """Eq. (2)."""
    number = len(centres)
    sums = sum(distance(a, b) for i, a in enumerate(centres) for j, b in enumerate(centres) if i != j)
    return sums / (number * (number - 1))


def neighborhood_by_hand(centres, neighbours: int) -> float:
    """Eq. (3): the smallest sum over any l other centres."""
    total = 0.0
    for i, centre in enumerate(centres):
        others = [distance(centre, other) for j, other in enumerate(centres) if j != i]
        total += min(sum(chosen) for chosen in itertools.combinations(others, neighbours))
    return total / (len(centres) * neighbours)


@pytest.mark.parametrize("size", [1, 2, 5, 11])
def test_alignment_of_whole_classes(size: int) -> None:
    classes = [RANDOM.normal(size=(number, 3)) * 4 + 9 for number in (size, 4, 7)]
    ours = alignment([torch.from_numpy(each) for each in classes], [len(each) for each in classes])
    assert ours == pytest.approx(alignment_by_hand(classes), rel=1e-12)


def test_alignment_of_a_class_too_large_for_one_distance_matrix() -> None:
    features = RANDOM.normal(size=(1300, 5))
    expected = 2 * pdist(features).sum() / 1300**2
    assert alignment([torch.from_numpy(features)], [1300]) == pytest.approx(expected, rel=1e-12)


def test_uniformities() -> None:
    centres = RANDOM.normal(size=(7, 5))
    tensor = torch.from_numpy(centres)
    assert uniformity(tensor) == pytest.approx(uniformity_by_hand(centres), rel=1e-12)
    for neighbours in range(1, 7):
        expected = neighborhood_by_hand(centres, neighbours)
        assert neighborhood_uniformity(tensor, neighbours) == pytest.approx(expected, rel=1e-12)
    grown = [neighborhood_uniformity(tensor, neighbours) for neighbours in range(1, 7)]
    assert grown == sorted(grown) and grown[-1] == uniformity(tensor)


def test_a_sample_is_right_on_the_average() -> None:
    """Over all samples of three of six pixels the mean is exactly that of all six."""
    features = torch.from_numpy(RANDOM.normal(size=(6, 2)))
    whole = alignment_by_hand([features.tolist()])
    drawn = [mean_distance(features[list(chosen)], population=6) for chosen in itertools.combinations(range(6), 3)]
    assert sum(drawn) / len(drawn) == pytest.approx(whole, rel=1e-12)
    assert mean_distance(features, population=6) == pytest.approx(whole, rel=1e-12)


def test_identical_features() -> None:
    features = torch.full((50, 4), 1 / 3)
    assert mean_distance(features, population=50) == 0
    assert mean_distance(features * 1e4, population=9000) == pytest.approx(0, abs=1e-9)
    assert uniformity(features) == neighborhood_uniformity(features, 3) == 0


def test_antipodes() -> None:
    """Of n pixels at v and n at -v half of all pairs are 2|v| apart, those with themselves included."""
    vector = torch.tensor([[3.0, 4.0]])
    both = torch.cat([vector.expand(5, 2), -vector.expand(5, 2)])
    assert mean_distance(both, population=10) == pytest.approx(5)
    assert uniformity(torch.cat([vector, -vector])) == 10


@pytest.mark.parametrize("number", [3, 8, 1000])
def test_points_spread_evenly_over_a_circle(number: int) -> None:
    """Chords 2 sin(pi k / n) sum up to 2 cot(pi / 2n), so that their mean nears 4 / pi."""
    angles = torch.arange(number).double() * (2 * math.pi / number)
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    expected = 2 / math.tan(math.pi / (2 * number)) / number
    assert mean_distance(circle, population=number) == pytest.approx(expected, rel=1e-9)
    assert uniformity(circle) == pytest.approx(expected * number / (number - 1), rel=1e-9)


@pytest.mark.parametrize("number", [2, 11, 19])
def test_a_simplex_reaches_the_bound_of_unit_vectors(number: int) -> None:
    corners = torch.eye(number).double() - 1 / number
    corners /= corners.norm(dim=1, keepdim=True)
    bound = math.sqrt(2 * number / (number - 1))
    for neighbours in range(1, number):
        assert neighborhood_uniformity(corners, neighbours) == pytest.approx(bound, rel=1e-12)
    assert {11: 1.483, 19: 1.453}.get(number, bound) == pytest.approx(bound, abs=5e-4)


def test_moving_and_turning_change_nothing_and_scaling_scales() -> None:
    features = torch.from_numpy(RANDOM.normal(size=(40, 6)))
    turned = torch.linalg.qr(torch.from_numpy(RANDOM.normal(size=(6, 6)))).Q
    for moved, factor in ((features @ turned + 100, 1), (features * 3, 3)):
        assert mean_distance(moved, population=50) == pytest.approx(factor * mean_distance(features, population=50))
        for neighbours in (1, 3, 39):
            ours, theirs = neighborhood_uniformity(moved, neighbours), neighborhood_uniformity(features, neighbours)
            assert ours == pytest.approx(factor * theirs)


def test_what_is_small_beside_its_distance_from_zero_is_not_lost() -> None:
    features = torch.tensor([[1e6, 0.0], [1e6, 1e-3]]).double()
    assert mean_distance(features, population=2) == pytest.approx(0.5e-3, rel=1e-6)


def test_what_is_undefined() -> None:
    one = torch.ones(1, 3)
    assert mean_distance(one, population=1) == 0
    assert math.isnan(mean_distance(one, population=2))
    assert math.isnan(alignment([], []))
    assert math.isnan(uniformity(one)) and math.isnan(uniformity(one[:0]))
    assert math.isnan(neighborhood_uniformity(torch.eye(3), 3)) and neighborhood_uniformity(torch.eye(3), 2) > 0
