"""The arithmetic of verdicts against printed tables, hand values and simulation."""

import math

import numpy as np
import pytest

from segbench.results.statistics import (
    Side,
    Spread,
    correlation,
    deviation,
    error_of,
    half_width,
    holm,
    p_value,
    pool,
    seeds_needed,
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


def test_seeds_needed_by_hand():
    # t = 1.96: 0.588 * sqrt(1/n + 1) + 0.005 is 0.684 for three seeds and 0.662 for four
    side = Side(Spread(0.3, 10**7), seeds=1, runs=1)
    assert seeds_needed([side], 0.005, 0.68) == 4
    # with s = 0.5 even endless seeds leave 0.98 + 0.005, as the printed value is one run
    assert seeds_needed([Side(Spread(0.5, 10**7), 1, 1)], 0.005, 0.68) is None
    # over nine printed runs 0.98 * sqrt(1/n + 1/9) <= 0.675 asks for 1/n <= 0.363, n >= 2.75
    assert seeds_needed([Side(Spread(0.5, 10**7), 1, 9)], 0.005, 0.68) == 3


def test_new_seeds_sharpen_a_measured_spread_but_not_a_borrowed_one():
    measured = Side(Spread(0.3, 2), seeds=3, runs=4)
    borrowed = Side(Spread(0.3, 2, source="elsewhere"), seeds=3, runs=4)
    # borrowed: t stays 4.303, so 4.303 * 0.3 * sqrt(1/4) = 0.645 is the limit
    assert seeds_needed([borrowed], 0.005, 0.60) is None
    needed = seeds_needed([measured], 0.005, 0.60)
    assert needed is not None
    widths = [half_width([Side(Spread(0.3, 2 + n - 3), n, 4)], 0.005) for n in (needed - 1, needed)]
    assert widths[0] > 0.60 >= widths[1]


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
