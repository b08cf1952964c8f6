"""Gains of rows that ran alike, and whether they exist here, by hand."""

import json
import math

import numpy as np
import pytest

from segbench.recipe.resolve import Request
from segbench.recipe.schema import MeasuredSpread
from segbench.results.compare import compare_table
from segbench.results.formats import render
from segbench.results.gains import estimate_gain
from tests.results.guess import GUESS

T = "made-one"
BODY = """
rows:
  base: {title: Base, figures: {camvid.test: {miou: "70.0"}}}
  up: {title: Up, over: base, method: {alpha: 0.5}, figures: {camvid.test: {miou: "72.0"}}}
  down: {title: Down, over: base, method: {alpha: 0.6}, figures: {camvid.test: {miou: "69.0"}}}
  said:
    title: Said
    method: {alpha: 0.7}
    figures: {camvid.test: {miou: "71.0", miou_gain: {printed: "+1.0", over: base}}}
"""
READING = f"{GUESS}    when: {{row: up}}\n"
SMALL = Request("small")


def gains(report):
    return [gain for gain in report.gains if gain.section == ("camvid", "test", "miou")]


def found(lab):
    return {gain.row: gain for gain in gains(compare_table(lab.catalog, T, lab.store))}


def test_gains_by_our_own_rows(lab):
    lab = lab(made_one=BODY)
    assert found(lab) == {}
    lab.run(T, "base", [30.0, 32.0], request=SMALL)
    lab.run(T, "up", [31.5], request=SMALL)
    lab.run(T, "down", [33.0], request=SMALL)
    lab.run(T, "said", [31.0], request=SMALL)
    told = {name: (gain.printed, gain.measured, gain.seeds, gain.word) for name, gain in found(lab).items()}
    assert told == {
        "up": (2.0, pytest.approx(0.5), 1, "gain unclear (provisional)"),
        "down": (-1.0, pytest.approx(2.0), 1, "gain unclear (provisional)"),
        "said": (1.0, pytest.approx(0.0), 1, "gain unclear (provisional)"),
    }


TIGHT = np.array([-0.1, 0.0, 0.1])
OTHER = np.array([0.0, 0.1, -0.1])  # in an order that no correlation of seeds is seen in


@pytest.mark.parametrize(
    ("mean", "word"),
    # s = 0.1 with four degrees of freedom: 2.776 * 0.1 * sqrt(2/3) = 0.2267, and 2.132 * 0.0816 = 0.1741 at 90 %
    [
        (30.23, "gain holds"),
        (30.22, "no such gain"),
        (29.77, "gain reversed"),
        (30.0, "no such gain"),
        (33.0, "gain holds"),
    ],
)
def test_whether_a_gain_exists_here(lab, mean, word):
    lab = lab(made_one=BODY)
    lab.run(T, "base", list(30 + TIGHT), request=SMALL)
    lab.run(T, "up", list(mean + OTHER), request=SMALL)
    gain = found(lab)["up"]
    assert (gain.word, gain.provisional) == (word, False)
    assert gain.half_width == pytest.approx(2.776445 * 0.1 * math.sqrt(2 / 3), abs=1e-6)
    row = next(e for e in compare_table(lab.catalog, T, lab.store).entries if e.figure.row == "up")
    assert row.verdict == "not comparable", "the first question has an answer of its own"


def test_less_is_better_where_the_print_falls(lab):
    lab = lab(made_one=BODY)
    lab.run(T, "base", list(30 + TIGHT), request=SMALL)
    lab.run(T, "down", list(29 + OTHER), request=SMALL)
    assert found(lab)["down"].answer == "gain holds"


def test_an_unclear_gain_says_how_many_seeds_would_show_it(lab):
    lab = lab(made_one=BODY)
    wide = 8 * TIGHT
    lab.run(T, "base", list(30 + wide), request=SMALL)
    lab.run(T, "up", list(30.9 + wide), request=SMALL)
    gain = found(lab)["up"]
    assert gain.answer == "gain unclear" and gain.seeds_needed is not None
    text = render(compare_table(lab.catalog, T, lab.store), "markdown")
    assert f"3 seeds; {gain.seeds_needed} would show the print" in text


def test_a_spread_measured_elsewhere_is_told_and_is_not_that_of_drawn_scenes(lab):
    lab = lab(made_one=BODY)
    source = "three seeds somewhere"
    lab.catalog.spreads = [MeasuredSpread(dataset="camvid", metric="miou", s=0.1, df=30, source=source)]
    lab.run(T, "base", [30.0], request=SMALL)
    lab.run(T, "up", [31.0], request=SMALL)
    assert (found(lab)["up"].word, found(lab)["up"].source) == ("gain holds (provisional)", source)
    assert f"1 seed; spread of {source}" in render(compare_table(lab.catalog, T, lab.store), "markdown")
    drawn = Request("tiny", settings=(("data.source", "generated"),))
    lab.run(T, "up", [31.0], request=drawn, asked=True)
    lab.run(T, "down", [31.0], request=drawn, asked=True)
    lab.run(T, "base", [30.0], request=drawn, asked=True)
    assert found(lab)["down"].half_width is None


def test_correlated_seeds_narrow_the_interval_from_six_on():
    random = np.random.default_rng(0)
    shared = random.normal(0, 1, 8)
    ours = {seed: 31 + value + 0.1 * random.normal() for seed, value in enumerate(shared)}
    theirs = {seed: 30 + value + 0.1 * random.normal() for seed, value in enumerate(shared)}
    whole = estimate_gain(ours, theirs, None)
    apart = np.array([ours[seed] - theirs[seed] for seed in range(8)])
    assert whole.paired and whole.df == 7 and whole.gain == pytest.approx(apart.mean())
    assert whole.error == pytest.approx(apart.std(ddof=1) / math.sqrt(8))
    few = estimate_gain({seed: ours[seed] for seed in range(5)}, theirs, None)
    assert not few.paired and few.error is None and few.correlation > 0.9
    against = estimate_gain(ours, {seed: -value for seed, value in theirs.items()}, None)
    assert not against.paired and against.correlation < -0.9


def test_rows_that_ran_otherwise_are_not_compared(lab):
    lab = lab(made_one=BODY)
    lab.run(T, "base", [30.0])
    lab.run(T, "up", [31.0], request=SMALL)
    lab.run(T, "down", [29.0], request=Request(settings=(("schedule.steps", 50),)), asked=True)
    assert found(lab) == {}
    lab.run(T, "base", [28.0], request=Request(settings=(("schedule.steps", 50),)), asked=True)
    assert {name: gain.measured for name, gain in found(lab).items()} == {"down": 1.0}
    lab.run(T, "up", [33.0])
    assert found(lab)["up"].measured == pytest.approx(3.0)


def test_reports_say_it(lab):
    lab = lab(made_one=BODY)
    lab.run(T, "base", list(30 + TIGHT), request=SMALL)
    lab.run(T, "up", list(31 + OTHER), request=SMALL)
    lab.run(T, "down", [31.0], request=SMALL)
    report = compare_table(lab.catalog, T, lab.store)
    text = render(report, "markdown")
    assert "Does the gain exist here? By our own rows alone (budget small)." in text
    assert "| Up over Base | +2.0 | +1.00 | +0.77 to +1.23 | gain holds | 3 seeds; seed correlation -0.50 |" in text
    assert "| Down over Base | -1.0 | +1.00 | +0.68 to +1.32 | gain reversed (provisional) | 1 seed |" in text
    assert "of 2 gains 1 holds here, 1 reversed.**" in text
    (data,) = json.loads(render(report, "json"))["reports"]
    assert [(gain["row"], gain["answer"], gain["section"][0]) for gain in data["gains"]] == [
        ("up", "gain holds", "camvid"),
        ("down", "gain reversed", "camvid"),
    ]


def test_a_reading_has_a_gain_of_its_own(lab):
    """Beside the attempt shown, against the same base, and uncounted; another budget's attempt is left out."""
    lab = lab(made_one=BODY + READING)
    lab.run(T, "base", [30.0], request=SMALL)
    lab.run(T, "up", [31.0], request=SMALL)
    lab.run(T, "up", [28.0], request=Request("small", readings=(("guess", "two"),)), asked=True)
    lab.run(T, "up", [90.0], request=Request("tiny", readings=(("guess", "two"),)), asked=True)
    report = compare_table(lab.catalog, T, lab.store)
    assert [(gain.name, gain.measured) for gain in gains(report)] == [
        ("Up", pytest.approx(1.0)),
        ("Up (guess=two)", pytest.approx(-2.0)),
    ]
    text = render(report, width=200)
    assert "Up (guess=two) over Base" in text and "another reading, not counted" in text
    assert "here the gain is unclear" in text


def test_readings_of_both_rows_are_read_alike(lab):
    """A row under a reading is held against the other row under that reading, or against nothing."""
    lab = lab(made_one=BODY + GUESS)
    other = Request("small", readings=(("guess", "two"),))
    lab.run(T, "base", [30.0], request=SMALL)
    lab.run(T, "up", [31.0], request=SMALL)
    lab.run(T, "up", [28.0], request=other, asked=True)
    report = compare_table(lab.catalog, T, lab.store)
    assert [(gain.name, gain.measured, gain.counts) for gain in gains(report)] == [("Up", 1.0, True)]
    lab.run(T, "base", [25.0], request=other, asked=True)
    report = compare_table(lab.catalog, T, lab.store)
    assert [(gain.name, gain.measured, gain.counts) for gain in gains(report)] == [
        ("Up", 1.0, True),
        ("Up (guess=two)", 3.0, False),
    ]


def test_only_runs_under_another_reading_count(lab):
    lab = lab(made_one=BODY + GUESS)
    lab.run(T, "base", [30.0], request=SMALL)
    lab.run(T, "up", [28.0], request=Request("small", readings=(("guess", "two"),)), asked=True)
    assert found(lab) == {}
    text = render(compare_table(lab.catalog, T, lab.store), width=200)
    assert "Does the gain exist here?" not in text


def test_a_zero_has_no_sign(lab):
    lab = lab(made_one=BODY)
    lab.run(T, "base", [30.0, 30.0], request=SMALL)
    lab.run(T, "down", [29.996, 29.996], request=SMALL)
    assert "| Down over Base | -1.0 | 0.00 |" in render(compare_table(lab.catalog, T, lab.store), "markdown")


def test_default_readings_come_first_on_other_data_too(lab):
    lab = lab(made_one=BODY + READING)
    away = Request("small", on="cityscapes")
    lab.run(T, "up", [20.0], request=Request("small", readings=(("guess", "two"),), on="cityscapes"), asked=True)
    lab.run(T, "up", [10.0], request=away, asked=True)
    shown = compare_table(lab.catalog, T, lab.store).row("up", "camvid").shown
    assert (shown.records[0].figures["miou"], str(shown)) == (10.0, "budget small, on cityscapes")
    text = render(compare_table(lab.catalog, T, lab.store), width=200)
    assert "made-one · camvid test, measured on cityscapes val · mIoU (%)" in text
    lab.run(T, "up", [30.0], request=SMALL)
    assert str(compare_table(lab.catalog, T, lab.store).row("up", "camvid").shown) == "budget small"


BARE = """
rows:
  base: {title: Base}
  up: {title: Up, over: base, method: {alpha: 0.5}}
"""


@pytest.mark.parametrize(
    ("mean", "word"), [(30.23, "gain holds"), (30.22, "gain unclear"), (30.0, "gain unclear"), (29.77, "gain reversed")]
)
def test_a_gain_of_rows_that_nothing_is_printed_for(lab, mean, word):
    """As above, but nothing says how small a gain would be none."""
    lab = lab(made_one=BARE)
    lab.run(T, "base", 30 + TIGHT, request=SMALL)
    lab.run(T, "up", mean + OTHER, request=SMALL)
    report = compare_table(lab.catalog, T, lab.store)
    (gain,) = report.gains
    assert (gain.row, gain.printed, gain.answer, gain.measured) == ("up", None, word, pytest.approx(mean - 30))
    text = render([report], "markdown")
    (section,) = [line for line in text.splitlines() if line.endswith("nothing printed")]
    assert "mIoU (%)" in section
    assert "| Base | 30.00 ± 0.10 | 3 seeds, budget small |" in text
    assert f"| Up over Base | - | {mean - 30:+.2f} |".replace("+0.00", "0.00") in text
