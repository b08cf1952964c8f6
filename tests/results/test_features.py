"""Figures of features have verdicts like scores, and beside them what no scale of the features changes."""

from segbench.recipe.resolve import Request
from segbench.results.compare import compare_table
from segbench.results.formats import render

BODY = """
margin: {alignment: 0.1}
rows:
  plain: {title: Plain, figures: {camvid.test: {miou: "80.0", alignment: "0.80", uniformity: "1.60"}}}
  other:
    title: Other
    method: {alpha: 0.5}
    figures: {camvid.test: {alignment: "0.60", alignment_gain: {printed: "-0.20", over: plain}, uniformity: "1.50"}}
  lone: {title: Lone, method: {alpha: 0.6}, figures: {camvid.test: {alignment: "0.70"}}}
"""
T = "made-one"


def test_seeds_and_spread_decide(lab) -> None:  # type: ignore[no-untyped-def]
    lab = lab(made_one=BODY)
    lab.run(T, "plain", [0.80, 0.81, 0.79], metric="alignment")
    lab.run(T, "other", [0.90, 0.91, 0.89], metric="alignment")
    report = compare_table(lab.catalog, T, lab.store)
    verdicts = {(e.figure.row, e.figure.metric): e.verdict for e in report.entries if e.measured is not None}
    assert verdicts == {
        ("plain", "alignment"): "reproduced", ("other", "alignment"): "higher", ("other", "alignment_gain"): "higher"
    }  # fmt: skip


def test_alignment_over_uniformity_stands_below_the_alignments(lab) -> None:  # type: ignore[no-untyped-def]
    lab = lab(made_one=BODY)
    lab.run(T, "plain", [0], figures={"alignment": 1.6, "alignment_over_uniformity": 0.80})
    for seed, ratio in enumerate((0.60, 0.70)):
        lab.run(T, "other", [0], seeds=[seed], figures={"alignment": 1.2, "alignment_over_uniformity": ratio})
    sentence = "alignment over uniformity, which no scale changes (printed): Plain 0.80 (0.50), Other 0.65 (0.40)"
    report = compare_table(lab.catalog, T, lab.store)
    for form in ("terminal", "markdown"):
        text = " ".join(render([report], form, width=300).replace("\\", "").split())
        assert text.count(sentence) == 1
        assert text.count("which no scale changes") == 1, "uniformities and scores have no such line"


def test_a_ratio_that_nobody_measured(lab) -> None:  # type: ignore[no-untyped-def]
    text = render([compare_table((made := lab(made_one=BODY)).catalog, T, made.store)], "markdown")
    assert "Plain - (0.50), Other - (0.40)" in text.replace("\\", "")


def test_the_other_length_stands_below_and_other_attempts_say_what_they_scored(lab) -> None:  # type: ignore[no-untyped-def]
    lab = lab(made_one=BODY)
    for seed, unit in enumerate((0.30, 0.40)):
        lab.run(T, "plain", [0], seeds=[seed], figures={"alignment": 1.6, "alignment_unit": unit})
    changed = Request(settings=(("schedule.steps", 50),))
    lab.run(T, "plain", [0], figures={"alignment": 2.5, "alignment_raw": 7.0}, request=changed, asked=True)
    report = compare_table(lab.catalog, T, lab.store)
    for form in ("terminal", "markdown"):
        text = " ".join(render([report], form, width=300).replace("\\", "").split())
        assert text.count("with the features scaled to unit length: Plain 0.35") == 1
        assert "as they are" not in text
        assert "--set schedule.steps=50: 1 seed, alignment A 2.50" in text
