"""Gains of rows that ran alike, their signs by hand."""

import json

import pytest

from segbench.recipe.resolve import Request
from segbench.results.compare import compare_table
from segbench.results.formats import render
from segbench.results.gains import gains
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
SECTION = ("camvid", "test", "miou")
SMALL = Request("small")


def found(lab):
    return {gain.row: gain for gain in gains(compare_table(lab.catalog, T, lab.store), SECTION)}


def test_signs(lab):
    lab = lab(made_one=BODY)
    assert found(lab) == {}
    lab.run(T, "base", [30.0, 32.0], request=SMALL)
    lab.run(T, "up", [31.5], request=SMALL)
    lab.run(T, "down", [33.0], request=SMALL)
    lab.run(T, "said", [31.0], request=SMALL)
    signs = {name: (gain.printed, gain.measured, gain.same_sign, gain.seeds) for name, gain in found(lab).items()}
    assert signs == {
        "up": (2.0, pytest.approx(0.5), True, 1),
        "down": (-1.0, pytest.approx(2.0), False, 1),
        "said": (1.0, pytest.approx(0.0), False, 1),  # no gain is no published sign
    }


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
    lab.run(T, "base", [30.0, 31.0], request=SMALL)
    lab.run(T, "up", [31.0, 32.0], request=SMALL)
    report = compare_table(lab.catalog, T, lab.store)
    assert "gain of Up over Base: +2.0 by the printed figures, +1.00 measured\n" in render(report, width=200)
    assert "1 of 1 gain has the published sign\n" in render(report, "markdown")
    lab.run(T, "down", [31.0], request=SMALL)
    report = compare_table(lab.catalog, T, lab.store)
    text = render(report, "markdown")
    assert "gain of Down over Base: -1.0 by the printed figures, +0.50 measured, without the published sign\n" in text
    assert "1 of 2 gains has the published sign; of one seed, a sign may be chance\n" in text
    (data,) = json.loads(render(report, "json"))["reports"]
    assert [(gain["row"], gain["same_sign"], gain["section"][0]) for gain in data["gains"]] == [
        ("up", True, "camvid"),
        ("down", False, "camvid"),
    ]


def test_a_reading_has_a_gain_of_its_own(lab):
    """Beside the attempt shown, against the same base, and uncounted; another budget's attempt is left out."""
    lab = lab(made_one=BODY + READING)
    lab.run(T, "base", [30.0], request=SMALL)
    lab.run(T, "up", [31.0], request=SMALL)
    lab.run(T, "up", [28.0], request=Request("small", readings=(("guess", "two"),)), asked=True)
    lab.run(T, "up", [90.0], request=Request("tiny", readings=(("guess", "two"),)), asked=True)
    report = compare_table(lab.catalog, T, lab.store)
    assert [(gain.name, gain.measured) for gain in gains(report, SECTION)] == [
        ("Up", pytest.approx(1.0)),
        ("Up (guess=two)", pytest.approx(-2.0)),
    ]
    text = render(report, width=200)
    assert "gain of Up (guess=two) over Base: +2.0 by the printed figures, -2.00 measured, without the pub" in text
    assert "sign; another reading, not counted\n" in text
    assert "1 of 1 gain has the published sign" in text


def test_readings_of_both_rows_are_read_alike(lab):
    """A row under a reading is held against the other row under that reading, or against nothing."""
    lab = lab(made_one=BODY + GUESS)
    other = Request("small", readings=(("guess", "two"),))
    lab.run(T, "base", [30.0], request=SMALL)
    lab.run(T, "up", [31.0], request=SMALL)
    lab.run(T, "up", [28.0], request=other, asked=True)
    report = compare_table(lab.catalog, T, lab.store)
    assert [(gain.name, gain.measured, gain.counts) for gain in gains(report, SECTION)] == [("Up", 1.0, True)]
    lab.run(T, "base", [25.0], request=other, asked=True)
    report = compare_table(lab.catalog, T, lab.store)
    assert [(gain.name, gain.measured, gain.counts) for gain in gains(report, SECTION)] == [
        ("Up", 1.0, True),
        ("Up (guess=two)", 3.0, False),
    ]


def test_only_runs_under_another_reading_count(lab):
    lab = lab(made_one=BODY + GUESS)
    lab.run(T, "base", [30.0], request=SMALL)
    lab.run(T, "up", [28.0], request=Request("small", readings=(("guess", "two"),)), asked=True)
    assert found(lab) == {}
    text = render(compare_table(lab.catalog, T, lab.store), width=200)
    assert "published sign" not in text


def test_no_sign_below_the_last_digit(lab):
    lab = lab(made_one=BODY)
    lab.run(T, "base", [30.0, 30.0], request=SMALL)
    lab.run(T, "up", [30.004, 30.004], request=SMALL)
    lab.run(T, "down", [29.996, 29.996], request=SMALL)
    text = render(compare_table(lab.catalog, T, lab.store), width=200)
    assert "over Base: +2.0 by the printed figures, +0.00 measured, so no sign\n" in text
    assert "over Base: -1.0 by the printed figures, +0.00 measured, so no sign\n" in text
    assert "0 of 2 gains have the published sign\n" in text


def test_a_printed_gain_is_counted_and_not_told_twice(lab):
    lab = lab(made_one=BODY)
    lab.run(T, "base", [30.0, 30.0], request=SMALL)
    lab.run(T, "said", [31.0, 31.0], request=SMALL)
    text = render(compare_table(lab.catalog, T, lab.store), width=200)
    assert "1 of 1 gain has the published sign\n" in text
    assert "gain of Said over Base: " not in text
    assert "gain of Said over Base " in text, "the table's own line"


def test_default_readings_come_first_on_other_data_too(lab):
    lab = lab(made_one=BODY + READING)
    away = Request("small", on="cityscapes")
    lab.run(T, "up", [20.0], request=Request("small", readings=(("guess", "two"),), on="cityscapes"), asked=True)
    lab.run(T, "up", [10.0], request=away, asked=True)
    shown = compare_table(lab.catalog, T, lab.store).row("up", "camvid").shown
    assert (shown.records[0].figures["miou"], str(shown)) == (10.0, "budget small, on cityscapes")
    lab.run(T, "up", [30.0], request=SMALL)
    assert str(compare_table(lab.catalog, T, lab.store).row("up", "camvid").shown) == "budget small"
