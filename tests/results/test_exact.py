"""Counts match to the printed digit; times have words of their own."""

import pytest

from segbench.recipe.figures import Figure
from segbench.results.exact import judge_exact, judge_time, prints_as
from segbench.results.verdicts import FigureVerdict


def figure(printed: str, metric: str = "params_m", row: str = "a", over: str | None = None) -> Figure:
    return Figure("t", row, "unstated", "train", metric, printed, over=over)


def judged(of: Figure) -> FigureVerdict:
    return FigureVerdict(of, "a", "not run")


@pytest.mark.parametrize(
    ("value", "printed", "same"),
    [
        (70.006560, "70.01", True),
        (70.389184, "70.39", True),
        (70.016, "70.01", False),
        (1295.857, "1295.86", True),
        (0.125, "0.12", True),  # a tie to even
        (0.125, "0.13", True),  # a tie up
        (0.1251, "0.12", False),
        (59.96, "60", True),
        (60.6, "60", False),
    ],
)
def test_printed_digits(value, printed, same):
    assert prints_as(value, figure(printed)) is same


def test_count_above_and_below():
    assert judge_exact(judged(figure("70.01")), [70.02]).verdict == "higher"
    assert judge_exact(judged(figure("70.01")), [65.86]).verdict == "lower"


def test_increase_that_the_authors_took_from_rounded_figures():
    """0.38262 / 70.00656 is 0.5465 %, which prints +0.55; 70.39 over 70.01 gives 0.5428, the printed +0.54."""
    increase = figure("+0.54", "params_m_increase_percent", "b", "a")
    bases = [figure("70.39", row="b"), figure("70.01")]
    entry = judge_exact(judged(increase), [70.389184, 70.006560], bases=bases)
    assert entry.verdict == "reproduced"
    assert entry.measured == pytest.approx(0.38 / 70.01 * 100)
    assert "70.39" in entry.reason
    assert "+0.55" in entry.reason
    # without the printed bases only the unrounded counts are left
    assert judge_exact(judged(increase), [70.389184, 70.006560]).verdict == "higher"


def test_increase_from_unrounded_counts():
    increase = figure("+0.55", "params_m_increase_percent", "b", "a")
    bases = [figure("70.39", row="b"), figure("70.01")]
    entry = judge_exact(judged(increase), [70.389184, 70.006560], bases=bases)
    assert entry.verdict == "reproduced"
    assert entry.measured == pytest.approx(0.382624 / 70.006560 * 100)


def test_increase_that_fits_neither_way():
    increase = figure("+0.60", "params_m_increase_percent", "b", "a")
    bases = [figure("70.39", row="b"), figure("70.01")]
    assert judge_exact(judged(increase), [70.389184, 70.006560], bases=bases).verdict == "lower"


@pytest.mark.parametrize(("seconds", "word"), [(150.0, "faster"), (352.531, "reproduced"), (705.06, "slower")])
def test_times(seconds, word):
    entry = judge_time(judged(figure("352.53", "sec_per_epoch")), [seconds], device="a card")
    assert entry.verdict == word
    assert entry.reason == f"{seconds / 352.53:.2f} x the printed time on a card"


def test_overhead_is_a_ratio_of_rows():
    of = figure("+17.90", "sec_per_epoch_increase_percent", "b", "a")
    assert judge_time(judged(of), [107.0, 100.0], device="").verdict == "faster"
    assert judge_time(judged(of), [130.0, 100.0], device="").verdict == "slower"
    assert judge_time(judged(of), [129.6, 100.0], device="").verdict == "reproduced"


@pytest.mark.parametrize(
    ("seconds", "word"),
    # printed 0.31 and 0.19: between 0.305/0.195 = 1.564 and 0.315/0.185 = 1.703; a tenth more either way is allowed
    [([1.42, 1.0], "faster"), ([1.43, 1.0], "reproduced"), ([3.74, 2.0], "reproduced"), ([1.88, 1.0], "slower")],
)
def test_times_of_a_pair_are_compared_as_their_ratio(seconds, word):
    pair = [figure("0.31", "sec_per_iter", "b", "a"), figure("0.19", "sec_per_iter")]
    entry = judge_time(judged(pair[0]), seconds, device="a card", bases=pair)
    assert (entry.verdict, entry.measured) == (word, seconds[0])
    assert entry.reason == f"{seconds[0] / seconds[1]:.2f} x the time of a, printed 1.63 x on a card"
