"""Words of both questions at hand-computed borders, and their seeds against simulation."""

import math

import numpy as np
import pytest

from segbench.results.decisions import (
    gain_verdict,
    number_verdict,
    seeds_for_gain,
    seeds_for_number,
    smallest_margin,
)
from segbench.results.statistics import Side, Spread, half_width

MANY = Spread(0.3, 10**7)
ONE = [Side(MANY, 3, 1)]  # error 0.3 * sqrt(4/3) = 0.3464: 90 % interval 0.5698, 95 % interval 0.6790


@pytest.mark.parametrize(
    ("difference", "margin", "word"),
    [
        (0.10, 0.70, "reproduced"),  # 0.10 + 0.5698 + 0.01 = 0.6798
        (-0.13, 0.70, "consistent"),  # 0.7098
        (0.68, 0.70, "consistent"),  # 0.6790 + 0.01 = 0.689
        (-0.70, 0.70, "differs"),
        (1.27, 0.70, "differs"),  # 1.27 - 0.5798 = 0.6902
        (1.29, 0.70, "higher"),  # 0.7102
        (-1.29, 0.70, "lower"),
        (0.00, 0.50, "consistent"),
    ],
)
def test_words_for_a_number(difference, margin, word):
    assert number_verdict(difference, ONE, rounding=0.01, margin=margin) == word


@pytest.mark.parametrize(
    ("gain", "printed", "word"),
    [
        (0.40, 0.7, "gain holds"),  # error 0.2: 95 % interval 0.392
        (0.38, 0.7, "gain unclear"),
        (-0.40, 0.7, "gain reversed"),
        (-0.40, -0.7, "gain holds"),  # of a quantity of which less is better
        (0.0, 0.7, "gain unclear"),  # 90 % interval 0.329, half the print 0.35
        (0.02, 0.7, "no such gain"),
        (0.02, 0.68, "gain unclear"),
    ],
)
def test_words_for_a_gain(gain, printed, word):
    wanted = "no such gain" if word == "gain unclear" and gain == 0.0 else word
    assert gain_verdict(gain, 0.2, 1e7, printed=printed) == wanted


def test_a_second_look_is_held_to_half_the_error():
    # 0.3464 * 1.960 + 0.01 = 0.689 for one interval and 0.3464 * 2.241 + 0.01 = 0.786 at half its error
    given = {"rounding": 0.01, "margin": 0.7}
    assert number_verdict(0.72, ONE, **given) == "differs"
    assert number_verdict(0.72, ONE, **given, looks=2) == "consistent"
    # and 0.3464 * 1.645 + 0.01 = 0.580 and 0.689 of the interval for equivalence
    assert number_verdict(0.1, ONE, **given) == "reproduced"
    assert number_verdict(0.1, ONE, **given, looks=2) == "consistent"
    assert gain_verdict(0.42, 0.2, 1e7, printed=0.7) == "gain holds"
    assert gain_verdict(0.42, 0.2, 1e7, printed=0.7, looks=2) == "gain unclear"


def test_a_small_gain_that_is_sure_holds_first():
    assert gain_verdict(0.1, 0.01, 100, printed=0.7) == "gain holds"


def test_no_number_of_seeds_decides_against_one_noisy_run():
    sides = [Side(Spread(0.3, 16), 3, 1)]
    assert seeds_for_number(sides, rounding=0.05, margin=0.7) is None
    # (1.645 + 1.282) * 0.3 + 0.05
    assert smallest_margin(sides, rounding=0.05) == pytest.approx(0.05 + 2.9264 * 0.3, abs=1e-4)
    assert seeds_for_number(sides, rounding=0.05, margin=0.94) is not None


@pytest.mark.parametrize(("s", "df", "runs", "margin"), [(0.3, 8, 3, 0.7), (0.3, 4, 2, 0.9)])
def test_the_seeds_for_a_number_decide_in_four_of_five_cases(s, df, runs, margin):
    random = np.random.default_rng(0)
    needed = seeds_for_number([Side(Spread(s, df), 3, runs)], rounding=0.05, margin=margin)
    assert needed is not None

    def power(seeds):
        then, cases = df + seeds - 3, 20_000
        ours, printed = (random.normal(0, s / math.sqrt(n), cases) for n in (seeds, runs))
        estimates = s * np.sqrt(random.chisquare(then, cases) / then)
        halves = [half_width([Side(Spread(1.0, then), seeds, runs)], 0, level=0.9) * each for each in estimates]
        return np.mean(np.abs(ours - printed) + halves + 0.05 <= margin)

    assert power(needed) > 0.79 and (needed <= 2 or power(needed - 1) < 0.81)


def test_the_seeds_for_a_gain_show_it_in_four_of_five_cases():
    random = np.random.default_rng(1)
    spread = Spread(0.3, 14)
    needed = seeds_for_gain([spread, spread], printed=0.7)
    assert needed is not None

    def power(seeds):
        # every new seed of either row adds a degree of freedom
        then, cases = 14 + 2 * (seeds - 1), 20_000
        error = 0.3 * math.sqrt(2 / seeds)
        estimates = np.sqrt(random.chisquare(then, cases) / then)
        gains = random.normal(0.7, error, cases)
        words = [gain_verdict(g, error * e, then, printed=0.7) for g, e in zip(gains, estimates, strict=True)]
        return np.mean([word == "gain holds" for word in words])

    assert power(needed) > 0.79 and power(needed - 1) < 0.81


def test_equal_values_have_no_error():
    sides = [Side(Spread(0.0, 4), 3, 1)]
    assert number_verdict(0.3, sides, rounding=0.05, margin=0.4) == "reproduced"
    assert number_verdict(0.5, sides, rounding=0.05, margin=0.4) == "higher"
    assert gain_verdict(0.1, 0.0, 4, printed=0.7) == "gain holds"
    assert seeds_for_number(sides, rounding=0.05, margin=0.4) == 2
    assert seeds_for_number(sides, rounding=0.5, margin=0.4) is None, "the rounding alone is wider"
