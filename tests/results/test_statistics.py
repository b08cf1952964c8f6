"""The arithmetic of verdicts against printed tables, hand values and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from segbench.results.statistics import (
    Side,
    Spread,
    brown_forsythe,
    correlation,
    correlation_p,
    deviation,
    error_of,
    expected_maximum,
    half_width,
    holm,
    intraclass,
    p_value,
    pool,
    t_quantile,
)


@pytest.mark.parametrize(
    ("df", "printed"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (30, 2.042), (120, 1.980), (10**9, 1.960)],
)
def test_t_quantiles_are_those_of_printed_tables(df, printed):
    assert t_quantile(df) == pytest.approx(printed, abs=5e-4)


def test_deviation_by_hand():
    assert deviation([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx(math.sqrt(32 / 7))
    assert deviation([3.0]) is None


def test_pool_by_hand():
    # sums of squares 2 (two degrees of freedom) and 8 (one); a single seed says nothing
    pooled = pool([[1, 2, 3], [0, 4], [5]])
    assert pooled == Spread(pytest.approx(math.sqrt(10 / 3)), 3, 2)
    assert pool([[1.0], []]) is None


def test_half_width_by_hand():
    side = Side(Spread(0.5, 4), seeds=3, runs=1)
    assert half_width([side], 0.005) == pytest.approx(2.776445 * 0.5 * math.sqrt(1 / 3 + 1) + 0.005, abs=1e-6)
    many = Side(Spread(0.5, 4), seeds=3, runs=3)
    assert half_width([many], 0.05) == pytest.approx(2.776445 * 0.5 * math.sqrt(2 / 3) + 0.05, abs=1e-6)


def test_gain_adds_the_variances_of_its_sides():
    spread = Spread(0.5, 4)
    sides = [Side(spread, 3, 1), Side(spread, 5, 1)]
    error, df = error_of(sides)
    assert error == pytest.approx(0.5 * math.sqrt(1 / 3 + 1 + 1 / 5 + 1))
    assert df == 4


def test_unlike_spreads_join_by_satterthwaite():
    # equal variances v with 4 degrees of freedom each: (2v)^2 / (2 v^2 / 4) = 8
    sides = [Side(Spread(0.5, 4, label="a"), 3, 1), Side(Spread(0.5, 4, label="b"), 3, 1)]
    assert error_of(sides)[1] == pytest.approx(8)
    # one side without variance leaves the other's degrees of freedom
    sides = [Side(Spread(0.5, 4, label="a"), 3, 1), Side(Spread(0.0, 9, label="b"), 3, 1)]
    assert error_of(sides)[1] == pytest.approx(4)


def test_p_value_meets_the_half_width():
    sides = [Side(Spread(0.5, 4), 3, 1)]
    half = half_width(sides, 0.005)
    assert p_value(half, sides, 0.005) == pytest.approx(0.05, abs=1e-9)
    assert p_value(-half * 1.01, sides, 0.005) < 0.05 < p_value(half * 0.99, sides, 0.005)
    # t(4) exceeds 4.604 either way in 1 % of cases, by printed tables
    assert p_value(4.604 * 0.5 * math.sqrt(4 / 3), sides, 0) == pytest.approx(0.01, abs=1e-5)
    assert p_value(0.004, sides, 0.005) == 1.0


def test_no_spread_at_all_leaves_rounding():
    sides = [Side(Spread(0.0, 2), 3, 1)]
    assert half_width(sides, 0.05) == 0.05
    assert p_value(0.04, sides, 0.05) == 1.0
    assert p_value(0.06, sides, 0.05) == 0.0


def test_intervals_of_other_levels():
    # t(4) is 2.132 at 95 % of one side, by printed tables
    side = Side(Spread(0.5, 4), seeds=4)
    assert half_width([side], 0, level=0.90) == pytest.approx(2.132 * 0.25, abs=1e-4)


def test_equal_variances_as_scipy_tests_them():
    random = np.random.default_rng(0)
    for sizes in ((3, 4, 5), (3, 3), (8, 3, 3, 4)):
        groups = [list(random.normal(5, scale, size)) for scale, size in enumerate(sizes, 1)]
        wanted = stats.levene(*groups, center="median").pvalue
        assert brown_forsythe(groups) == pytest.approx(wanted)
        assert brown_forsythe([*groups, [1.0, 2.0]]) == pytest.approx(wanted), "two values tell nothing"
    assert brown_forsythe([[1, 2, 3], [4, 5]]) is None
    assert brown_forsythe([[1, 1, 1], [2, 2, 2]]) == 1.0


def test_correlation_of_equal_seeds_between_rows():
    random = np.random.default_rng(3)
    for wanted in (0.0, 0.3, 0.6):
        shared = random.normal(size=4000)
        rows = [math.sqrt(wanted) * shared + math.sqrt(1 - wanted) * random.normal(size=4000) + row for row in range(4)]
        assert intraclass([dict(enumerate(row)) for row in rows]) == pytest.approx(wanted, abs=0.03)
    assert intraclass([{0: 1.0, 1: 2.0}, {0: 11.0, 1: 12.0}]) == 1.0
    assert intraclass([{0: 1.0, 1: 2.0}, {0: 12.0, 1: 11.0}]) == 0.0
    assert intraclass([{0: 1.0, 1: 2.0}]) == intraclass([{0: 1.0, 1: 2.0}, {1: 3.0, 2: 4.0}]) == intraclass([]) == 0.0


def test_expected_maximum_of_normal_draws():
    # closed forms: 1 / sqrt(pi) of two, 3 / (2 sqrt(pi)) of three
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-9)
    assert expected_maximum(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-9)
    assert expected_maximum(1) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("pairs", [3, 6, 20])
def test_p_of_a_correlation_as_scipy_has_it(pairs):
    a, b = np.random.default_rng(pairs).normal(size=(2, pairs))
    r = correlation(list(zip(a, b, strict=True)))
    assert correlation_p(r, pairs) == pytest.approx(stats.pearsonr(a, b, alternative="greater").pvalue)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_correlation():
    assert correlation([(1, 6), (2, 4), (3, 2)]) == pytest.approx(-1)
    assert correlation([(1, 6), (2, 6), (3, 6)]) is None
    assert correlation([(1, 6), (2, 4)]) is None


def test_a_true_number_is_rejected_in_one_case_of_twenty():
    """Draws of a publication (mean of 2 runs) and of 3 seeds with 4 further degrees of freedom, all from one law."""
    random = np.random.default_rng(0)
    outside, cases = 0, 4000
    for _ in range(cases):
        seeds, others, more = (random.normal(70, 0.4, 3) for _ in range(3))
        spread = pool([list(seeds), list(others), list(more)])
        printed = random.normal(70, 0.4 / math.sqrt(2))
        outside += abs(seeds.mean() - printed) > half_width([Side(spread, 3, 2)], 0)
    assert outside / cases == pytest.approx(0.05, abs=0.012)
