"""What a verdict knows of seeds: spreads, pools, plans, looks, and the runs behind the print."""

import math

import pytest

from segbench.core.errors import InvalidFault
from segbench.recipe.resolve import Request
from segbench.recipe.schema import MeasuredSpread
from segbench.results.formats import render
from tests.results.test_compare import OTHER, PLAIN, T, around, compare, only


def test_rows_with_another_network_are_not_pooled(lab):
    body = PLAIN.replace("method: {alpha: 0.5}", "model: {backbone: {name: hrnetv2, width: 48}}")
    lab = lab(made_one=body)
    lab.run(T, "base", around(70.2))
    lab.run(T, "more", around(72.0, [-1, 0, 1]))
    report = compare(lab)
    assert only(report).spread.df == 2
    assert only(report).spread.s == pytest.approx(0.1)
    gain = only(report, "miou_gain", "more")
    # variances 0.01 and 1, each times 4/3; Satterthwaite: (1.01)^2 / (0.0001/2 + 1/2) = 2.04 degrees of freedom
    assert gain.half_width > 2 * 0.0
    assert gain.half_width == pytest.approx(4.23 * math.sqrt(1.01 * 4 / 3) + 0.1, abs=0.05)


OFFSETS = [-0.35, 0.0, 0.35]


def test_consistent_says_how_many_seeds(lab):
    lab = lab(made_one=PLAIN.replace('camvid.test: {miou: "70.0"', 'camvid.test: {runs: 3, miou: "70.0"'))
    lab.run(T, "base", around(70.4, OFFSETS))
    lab.run(T, "more", around(72.0, [0.0, 0.35, -0.35]))
    entry = only(compare(lab))
    # 2.131847 * 0.35 * sqrt(2/3) + 0.05 = 0.659
    assert (entry.verdict, entry.narrow) == ("consistent", pytest.approx(0.6592, abs=1e-4))
    assert entry.seeds_needed is not None and entry.seeds_needed > 3
    assert f"{entry.seeds_needed} seeds would decide in 80 % of cases" in entry.reason
    assert entry.next.endswith(f"made-one/base --seeds {entry.seeds_needed}")


def test_no_seeds_decide_where_the_print_is_one_noisy_run(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", around(70.1, [-1, 0, 1]))
    entry = only(compare(lab))
    assert (entry.verdict, entry.seeds_needed, entry.next) == ("consistent", None, "")
    # (1.645 + 1.282) * 1 + 0.05
    assert "no number of seeds can decide: the print is one run; a margin of 2.98 could be" in entry.reason


def test_runs_that_the_publication_does_not_state_count_as_one(lab):
    lab = lab(made_one=PLAIN, made_two=PLAIN.replace('{miou: "70.0"', '{runs: 1, miou: "70.0"'))
    lab.run(T, "base", around(70.1, OFFSETS))
    lab.run(T, "more", around(72.0, [0.0, 0.35, -0.35]))
    unstated, stated = only(compare(lab)), only(compare(lab, "made-two"))
    assert unstated.half_width == stated.half_width
    # 2.131847 * 0.35 * sqrt(4/3) + 0.05 = 0.911 with one run, 0.659 with three
    assert (unstated.verdict, stated.verdict) == ("consistent", "consistent")
    assert unstated.reason.endswith("; were the print a mean of 3 runs: reproduced")
    assert "mean of 3 runs" not in stated.reason


def test_the_best_of_several_is_lifted(lab):
    lab = lab(made_one=PLAIN.replace('{miou: "70.0"', '{runs: 1, best_of: 3, miou: "70.0"'))
    lab.run(T, "base", around(69.9))
    lab.run(T, "more", around(72.0, OTHER))
    entry = only(compare(lab))
    # the best of three draws lies 0.846 deviations above their mean
    assert entry.difference == pytest.approx(-0.1 + 0.0846, abs=1e-4)
    assert entry.reason == "the print is the best of 3: 0.08 taken off"


def test_rows_that_scatter_unlike_each_other_are_not_pooled(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", around(70.2, [-0.5, 0.0, 0.5]))
    lab.run(T, "more", around(72.0, [0.0, 1.0, -1.0]))
    report = compare(lab)
    base, more = only(report), only(report, row="more")
    # F(2, 2) is 4, of which 9 is the upper tenth; neither has twice the pooled spread
    assert base.spread.s == pytest.approx(more.spread.s) == pytest.approx(math.sqrt((0.25 + 1) / 2))
    lab.run(T, "base", around(70.2))
    report = compare(lab)
    base, more = only(report), only(report, row="more")
    # now F is 100
    assert (more.spread.s, more.spread.df, more.spread.groups) == (pytest.approx(1.0), 2, 1), "its own, the larger one"
    assert base.spread.s == pytest.approx(math.sqrt(1.01 / 2)) and not base.spread.note, "it scatters less"
    assert "rows scatter unlike each other (own s 1.00, pooled 0.71): the larger counts" in more.reason


def test_seeds_that_move_together_tell_less_of_the_spread(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", around(70.2))
    lab.run(T, "more", around(72.0))
    assert only(compare(lab)).spread.df == pytest.approx(4 / (1 + 1)), "two rows of one correlation: as good as one"


def test_spreads_are_pooled_across_tables(lab):
    body = 'rows:\n  other: {method: {alpha: 0.9}, figures: {camvid.test: {miou: "71.0"}}}\n'
    body += '  longer: {schedule: {steps: 200}, figures: {camvid.test: {miou: "71.0"}}}\n'
    lab = lab(made_one=PLAIN, made_two=body)
    lab.run("made-two", "other", around(71.0))
    lab.run("made-two", "longer", around(71.0, [-3, 0, 3]))
    lab.run(T, "base", [70.1])
    entry = only(compare(lab))
    assert entry.spread.s == pytest.approx(0.1) and entry.spread.df == 2, "another schedule is no part of it"
    assert (entry.word, entry.reason) == ("reproduced (provisional)", "one seed")


def test_fewer_than_the_planned_seeds_are_provisional(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "more", around(72.0, OTHER))
    for seed in range(5):
        lab.ask(T, "base", Request(), seed=seed)
    lab.run(T, "base", around(70.1))
    entry = only(compare(lab))
    assert (entry.word, entry.reason) == ("reproduced (provisional)", "3 of 5 planned seeds")
    assert entry.planned == 5 and entry.next.endswith("--seeds 5")
    lab.run(T, "base", [*around(70.1), 70.1, 70.1])
    assert only(compare(lab)).word == "reproduced"


def test_seeds_that_are_added_to_results_are_another_look(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", around(70.1), asked=True)
    assert only(compare(lab)).looks == 1
    first = lab.store.attempts(T)
    lab.store.note_attempts(first)
    assert only(compare(lab)).looks == 1, "no new seeds"
    lab.store.note_attempts([attempt.model_copy(update={"seed": attempt.seed + 3}) for attempt in first])
    assert only(compare(lab)).looks == 2
    lab.store.note_attempts([attempt.model_copy(update={"seed": attempt.seed + 6}) for attempt in first])
    assert only(compare(lab)).looks == 3
    assert "seeds were added 2 times after results were seen" in render(compare(lab), "terminal", width=10_000)


def test_more_printed_runs_narrow_the_interval(lab):
    lab = lab(made_one=PLAIN.replace('camvid.test: {miou: "70.0"', 'camvid.test: {runs: 3, miou: "70.0"'))
    lab.run(T, "base", around(70.1))
    half = only(compare(lab)).half_width
    assert half == pytest.approx(4.302653 * 0.1 * math.sqrt(1 / 3 + 1 / 3) + 0.05, abs=1e-6)


@pytest.mark.parametrize("values", [[70.1], [70.1, 70.2]])
def test_few_seeds_and_nothing_to_pool(lab, values):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", values)
    entry = only(compare(lab))
    assert entry.verdict == "undecided"
    assert "spread" in entry.reason
    assert entry.half_width is None
    assert entry.next.endswith("--seeds 3")


def test_one_seed_uses_the_spread_of_the_other_row(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", [70.1])
    lab.run(T, "more", around(72.0, OTHER))
    entry = only(compare(lab))
    assert entry.word == "reproduced (provisional)"
    assert entry.half_width == pytest.approx(4.302653 * 0.1 * math.sqrt(2) + 0.05, abs=1e-6)


def test_borrowed_spread_is_provisional(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", [70.1])
    given = {"dataset": "camvid", "metric": "miou", "df": 30}
    spread = MeasuredSpread(s=0.2, source="a measured table", backbone="hrnetv2", **given)
    other = MeasuredSpread(s=9.0, source="another network", backbone="resnet", **given)
    lab.catalog.spreads = [other, spread]
    entry = only(compare(lab))
    assert (entry.verdict, entry.provisional) == ("reproduced", True)
    assert entry.reason == "one seed; spread of a measured table"
    assert entry.half_width == pytest.approx(2.042272 * 0.2 * math.sqrt(2) + 0.05, abs=1e-6)
    lab.catalog.spreads = [other]
    assert only(compare(lab)).verdict == "undecided"


def test_a_margin_of_nothing_is_a_fault(lab):
    with pytest.raises(InvalidFault, match=r"margin.miou: input should be greater than 0, got 0"):
        lab(made_one=PLAIN.replace("margin: {miou: 1.0}", "margin: {miou: 0}"))


def test_equal_values_have_no_spread_and_are_judged_by_their_rounding(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", [70.5, 70.5, 70.5])
    entry = only(compare(lab))
    assert (entry.verdict, entry.spread.s, entry.half_width) == ("reproduced", 0.0, 0.05)
    lab.run(T, "base", [71.2, 71.2, 71.2])
    assert only(compare(lab)).verdict == "higher"
