"""Every verdict word is reached by a case that could fail."""

import math

import pytest

from segbench.core.errors import UsageFault
from segbench.recipe.resolve import Request, resolve
from segbench.results.compare import compare_table

T = "made-one"
PLAIN = """
margin: {miou: 1.0}
rows:
  base: {title: Base, figures: {camvid.test: {miou: "70.0", iou: {sky: "90.0"}}}}
  more:
    title: More
    method: {alpha: 0.5}
    figures: {camvid.test: {miou: "72.0", miou_gain: {printed: "+2.0", over: base}}}
"""
TIGHT = [-0.1, 0.0, 0.1]  # s = 0.1, two degrees of freedom
OTHER = [0.0, 0.1, -0.1]  # the same in an order that no correlation of seeds is seen in
T4 = 2.776445  # 97.5 % of t with four degrees of freedom, printed tables


def around(mean, offsets=TIGHT):
    return [mean + offset for offset in offsets]


def only(report, metric="miou", row="base"):
    return next(e for e in report.entries if e.figure.metric == metric and e.figure.row == row)


def compare(lab, table=T, **options):
    return compare_table(lab.catalog, table, lab.store, **options)


def test_empty_store_is_not_run(lab):
    report = compare(lab(made_one=PLAIN))
    assert [entry.verdict for entry in report.entries] == ["not run"] * 4
    assert only(report).next == "segbench reproduce made-one/base"
    assert only(report, "miou_gain", "more").next == "segbench reproduce made-one/more"


def test_reproduced_with_the_width_of_the_formula(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", around(70.2))
    lab.run(T, "more", around(72.0, OTHER))
    entry = only(compare(lab))
    assert entry.verdict == "reproduced"
    assert entry.measured == pytest.approx(70.2)
    assert entry.difference == pytest.approx(0.2)
    assert entry.deviation == pytest.approx(0.1)
    assert (entry.spread.df, entry.spread.groups) == (4, 2)
    assert entry.half_width == pytest.approx(T4 * 0.1 * math.sqrt(1 / 3 + 1) + 0.05, abs=1e-6)
    assert entry.seeds == (0, 1, 2)
    assert not entry.provisional


@pytest.mark.parametrize(("mean", "word"), [(68.0, "lower"), (72.0, "higher")])
def test_higher_and_lower(lab, mean, word):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", around(mean))
    lab.run(T, "more", around(72.0, OTHER))
    entry = only(compare(lab))
    assert entry.verdict == word
    assert entry.p < entry.p_holm < 0.05


TOLERANT = PLAIN.replace(
    'miou: "70.0"', 'miou: {printed: "70.0", tolerance: {points: 1.5, source: their later code gives 68.5}}'
)


@pytest.mark.parametrize(
    ("mean", "word", "strict"),
    [
        # the 90 % interval is 2.132 * 0.1 * sqrt(4/3) + 0.05 = 0.296 either way
        (68.5, "reproduced", "lower"),  # what the authors' own code gives
        (71.5, "reproduced", "higher"),
        (67.9, "reproduced", "lower"),  # 0.6 beyond it
        (67.0, "lower", "lower"),
        (73.0, "higher", "higher"),
        (70.0, "reproduced", "reproduced"),
    ],
)
def test_what_the_authors_own_code_gives_is_no_deviation(lab, mean, word, strict):
    lab = lab(made_one=TOLERANT, made_two=PLAIN)
    lab.run(T, "base", around(mean))  # the rows of both tables mean the same trainings
    lab.run(T, "more", around(72.0, OTHER))
    tolerant, plain = only(compare(lab)), only(compare(lab, "made-two"))
    assert tolerant.half_width == plain.half_width and tolerant.margin == plain.margin == 1.0
    assert (tolerant.verdict, plain.verdict) == (word, strict)


def test_holm_is_shown_and_changes_no_word(lab):
    body = "margin: {miou: 0.2}\nrows:\n" + "".join(
        f'  r{i}: {{method: {{alpha: 0.{i}}}, figures: {{camvid.test: {{miou: "70.00"}}}}}}\n' for i in range(1, 5)
    )
    lab = lab(made_one=body)
    # eight degrees of freedom have p = 0.02 at 2.896
    error = 0.1 * math.sqrt(4 / 3)
    for row, mean, sign in (("r1", 70 + 2.896 * error + 0.005, 1), ("r2", 70, -1), ("r3", 70, 1), ("r4", 70, -1)):
        lab.run(T, row, around(mean, [sign * each for each in TIGHT]))
    entry = only(compare(lab), row="r1")
    assert entry.p == pytest.approx(0.02, abs=1e-4)
    assert entry.p_holm == pytest.approx(0.08, abs=4e-4)
    assert entry.verdict == "differs" and "a gap below the margin is not excluded" in entry.reason


def test_holm_covers_the_whole_table_even_where_one_data_set_is_shown(lab):
    body = """
rows:
  base:
    figures: {camvid.test: {miou: "70.0"}, voc2012.val: {miou: "60.0"}}
    datasets: {voc2012: {data: {name: voc2012}, evaluation: {split: val}}}
"""
    lab = lab(made_one=body)
    lab.run(T, "base", around(70.1))
    lab.run(T, "base", around(61.0), dataset="voc2012")
    whole = compare(lab)
    part = compare(lab, datasets=["camvid"])
    assert [e.figure.dataset for e in part.entries] == ["camvid"]
    assert part.entries[0].p_holm == whole.entries[0].p_holm
    with pytest.raises(UsageFault, match="voc"):
        compare(lab, datasets=["voc"])


def test_gains_are_compared_as_gains(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", around(60.0))  # both rows far below the print, their distance as printed
    lab.run(T, "more", [62.2, 62.3, 62.1])
    report = compare(lab)
    gain = only(report, "miou_gain", "more")
    assert only(report).verdict == "lower"
    assert gain.verdict == "reproduced"
    assert gain.measured == pytest.approx(2.2)
    # the rounding of a gain is that of two values
    assert gain.half_width == pytest.approx(T4 * 0.1 * math.sqrt(2 * (1 / 3 + 1)) + 0.1, abs=1e-6)
    assert gain.deviation == pytest.approx(math.sqrt(0.02))
    assert gain.values == pytest.approx([2.3, 2.3, 2.0])
    # base -.1 0 .1, more 0 .1 -.1: -1/2
    assert gain.correlation == pytest.approx(-0.5)


def test_gain_needs_both_rows_under_one_request(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "more", around(72.0, OTHER))
    assert only(compare(lab), "miou_gain", "more").next == "segbench reproduce made-one/base"
    lab.run(T, "base", around(50.0), request=Request(budget="small"))
    gain = only(compare(lab), "miou_gain", "more")
    assert gain.verdict == "not run"
    assert "alike" in gain.reason
    assert gain.next == "segbench reproduce made-one/base"
    lab.run(T, "more", around(53.0), request=Request(budget="small"))
    gain = only(compare(lab), "miou_gain", "more")
    assert gain.verdict == "not comparable"
    assert gain.measured == pytest.approx(3.0)
    assert gain.shown.budget == "small"


def test_not_comparable_lists_what_is_material(lab):
    lab = lab(made_one=PLAIN)
    machine = {"device": "cuda:0", "precision": "bfloat16", "compile": True}
    lab.run(T, "base", around(70.0), request=Request(budget="small"), provenance=machine)
    entry = only(compare(lab))
    assert entry.verdict == "not comparable"
    assert entry.deviations == ("steps 50 of 100",)
    assert entry.recorded == ("validate every 10 of 20", "CUDA bfloat16", "torch.compile")
    assert entry.measured == pytest.approx(70.0)
    assert entry.half_width is None
    assert entry.next == "segbench reproduce made-one/base"


def test_full_is_shown_before_small_before_tiny(lab):
    lab = lab(made_one=PLAIN)
    for budget, mean in (("tiny", 10.0), ("small", 50.0), ("full", 70.0)):
        lab.run(T, "base", around(mean), request=Request(budget=budget))
        assert only(compare(lab)).measured == pytest.approx(mean)
    entry = only(compare(lab))
    assert entry.shown.budget == "full"
    assert (entry.attempts, entry.trainings) == (3, 9)


def test_settings_at_full_budget_are_deviations(lab):
    lab = lab(made_one=PLAIN)
    request = Request(settings=(("schedule.steps", 70), ("schedule.crop", [32, 48])))
    lab.run(T, "base", around(70.0), request=request, asked=True)
    entry = only(compare(lab))
    assert entry.verdict == "not comparable"
    assert entry.deviations == ("crop 32x48 of 64x64", "steps 70 of 100")
    assert entry.shown.settings == {"schedule.steps": 70, "schedule.crop": [32, 48]}


READINGS = (
    PLAIN
    + """
readings:
  head:
    question: Which?
    options: {one: {says: one}, two: {says: two, set: {method.temperature: 0.5}}}
    default: one
    source: nowhere
    confidence: medium
  split-rule:
    question: What?
    options: {as-is: {says: x}, flip: {says: y, set: {evaluation.flip: true}}}
    default: as-is
    source: nowhere
    confidence: low
"""
)


def test_default_reading_is_shown_and_every_attempt_counts(lab):
    lab = lab(made_one=READINGS)
    other = Request(readings=(("head", "two"),))
    lab.run(T, "base", around(70.0), request=other, asked=True)
    entry = only(compare(lab))
    assert entry.verdict == "reproduced"
    assert entry.shown.readings == {"head": "two"}
    assert entry.confidence == "low"
    lab.run(T, "base", around(65.0))
    lab.ask(T, "base", Request(readings=(("head", "one"),)))  # the default, said aloud, is no further attempt
    lab.ask(T, "base", Request(readings=(("split-rule", "flip"),)))  # asked, never finished
    report = compare(lab)
    entry = only(report)
    assert entry.verdict == "lower"
    assert entry.shown.readings == {}
    assert (entry.attempts, entry.trainings) == (3, 6)
    assert [str(tried) for tried in report.row("base", "camvid").attempts] == [
        "budget full",
        "budget full, head=two",
        "budget full, split-rule=flip",
    ]


def test_attempt_that_the_recipe_no_longer_knows(lab):
    lab = lab(made_one=PLAIN)
    lab.ask(T, "base", Request(readings=(("gone", "x"),)))
    lab.run(T, "base", around(70.0))
    report = compare(lab)
    assert only(report).verdict == "reproduced"
    assert "gone" in report.row("base", "camvid").lost[0]


def test_equal_trainings_are_shared_between_rows_and_tables(lab):
    twin = 'rows:\n  other-name: {title: Another, figures: {camvid.test: {miou: "70.3"}}}\n'
    lab = lab(made_one=PLAIN, made_two=twin)
    lab.run(T, "base", around(70.0))
    entry = compare(lab, "made-two").entries[0]
    assert entry.verdict == "reproduced"
    assert entry.trainings == 3


def test_a_shared_training_counts_once_in_the_pool(lab):
    twins = 'rows:\n  a: {figures: {camvid.test: {miou: "70.0"}}}\n  b: {figures: {camvid.test: {miou: "70.0"}}}\n'
    lab = lab(made_one=twins)
    lab.run(T, "a", around(70.0))
    entry = only(compare(lab), row="b")
    assert (entry.spread.df, entry.spread.groups) == (2, 1)


def test_another_evaluation_is_another_record(lab):
    lab = lab(made_one=READINGS)
    lab.run(T, "base", around(70.0), request=Request(readings=(("split-rule", "flip"),)))  # nobody asked for it
    assert only(compare(lab)).verdict == "not run"


def test_per_class_values_are_shown(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", around(70.0), per_class={"Sky": 50.0, "pole": None})
    entry = only(compare(lab), "iou")
    assert entry.verdict == "shown"
    assert entry.difference == pytest.approx(-40.0)
    assert entry.p is None


UNAVAILABLE = """
rows:
  server: {server: the server, evaluation: {flip: true}, figures: {camvid.test: {miou: "70.0"}}}
  network: {model: {backbone: {name: yet-to-come}}, figures: {camvid.test: {miou: "70.0"}}}
  metric: {figures: {camvid.test: {iiou: "50.0"}}}
  split: {figures: {camvid.val: {miou: "70.0"}}}
  over: {figures: {camvid.test: {miou_gain: {printed: "+1.0", over: network}}}}
"""


@pytest.mark.parametrize(
    ("row", "metric", "reason"),
    [
        ("server", "miou", "only the server can score it"),
        ("network", "miou", "waits for backbone yet-to-come"),
        ("metric", "iiou", "iiou is not measured by this version"),
        ("split", "miou", "the protocol scores test, not val"),
        ("over", "miou_gain", "waits for backbone yet-to-come"),
    ],
)
def test_unavailable_with_its_reason(lab, row, metric, reason):
    lab = lab(made_one=UNAVAILABLE)
    lab.run(T, "split", around(70.0))  # the same training as row server: a score on test, not on val
    entry = only(compare(lab), metric, row)
    assert (entry.verdict, entry.reason) == ("unavailable", reason)


SERVED = """
margin: {miou: 1.0}
rows:
  base: {server: the server, figures: {camvid.test: {miou: "70.0"}}}
"""


def test_what_a_server_scores_is_judged_once_it_has_answered(lab):
    lab = lab(made_one=SERVED)
    assert only(compare(lab)).next == "segbench reproduce made-one/base"
    resolved = resolve(lab.catalog, T, "base", "camvid", Request())
    lab.run(T, "base", [66.0], evaluation=resolved.scored)
    entry = only(compare(lab))
    assert (entry.verdict, entry.measured) == ("unavailable", None), "a score on val is no score on test"
    assert entry.reason == "only the server can score it; val here: 66.00"
    assert entry.next == "segbench export made-one/base"
    answer = {"by": "the server", "day": "2026-05-01", "link": ""}
    lab.run(T, "base", around(70.2), provenance={"scored": answer})
    entry = only(compare(lab))
    assert entry.verdict == "reproduced"
    assert "scored by the server on 2026-05-01" in entry.recorded


def test_a_score_that_is_no_number_is_no_score(lab):
    lab = lab(made_one=PLAIN)
    lab.run(T, "base", [None, None, None])
    entry = only(compare(lab))
    assert entry.verdict == "unavailable"
    assert entry.reason == "the records hold no miou"


def test_failed_training_is_named(lab):
    lab = lab(made_one=PLAIN)
    lab.ask(T, "base", Request(), training="abc")
    lab.store.note_failure("abc", "loss is not finite")
    assert only(compare(lab)).reason == "failed: loss is not finite"


COSTS = """
cost: {input: [64, 64], num_classes: 19}
rows:
  base: {figures: {camvid.train: {params_m: "70.01", sec_per_epoch: "352.53"}}}
  more:
    method: {alpha: 0.5}
    figures:
      camvid.train: {params_m: "70.39", params_m_increase_percent: {printed: "+0.54", over: base}}
"""


def test_counts_are_found_by_what_was_counted(lab):
    lab = lab(made_one=COSTS)
    assert {e.verdict for e in compare(lab).entries} == {"not run", "unavailable"}
    lab.count(T, "base", params_m=70.006560)
    lab.count(T, "more", params_m=70.389184)
    report = compare(lab)
    words = {(e.figure.row, e.figure.metric): e.verdict for e in report.entries}
    assert words == {
        ("base", "params_m"): "reproduced",
        ("base", "sec_per_epoch"): "unavailable",
        ("more", "params_m"): "reproduced",
        ("more", "params_m_increase_percent"): "reproduced",
    }
    assert all(entry.p is None for entry in report.entries)


TIMES = """
rows:
  base: {figures: {camvid.train: {sec_per_iter: "0.20"}}}
  more:
    method: {alpha: 0.5}
    figures: {camvid.train: {sec_per_iter: {printed: "0.30", over: base}}}
"""


def test_times_are_compared_within_a_pair_and_on_a_cuda_device(lab):
    lab = lab(made_one=TIMES)
    card = {"device": "cuda:0", "device_name": "a card"}
    lab.run(T, "more", [1.5], metric="sec_per_iter", provenance=card)
    assert [(e.verdict, e.reason) for e in compare(lab).entries] == [("not run", ""), ("not run", "base is not run")]
    lab.run(T, "base", [1.0], metric="sec_per_iter", provenance=card)
    base, more = compare(lab).entries
    assert (base.verdict, base.reason) == ("slower", "5.00 x the printed time on a card")
    assert (more.verdict, more.reason) == ("reproduced", "1.50 x the time of base, printed 1.50 x on a card")
    assert more.measured == 1.5
    lab.run(T, "base", [1.0], metric="sec_per_iter", provenance={"device": "cpu"})
    lab.run(T, "more", [2.0], metric="sec_per_iter", provenance={"device": "cpu"})
    _, more = compare(lab).entries
    assert more.verdict == "not comparable"
    assert more.reason == "training times compare on a CUDA device only; 2.00 x the time of base, printed 1.50 x"


def test_counts_of_another_input_size_are_not_taken(lab):
    lab = lab(made_one=COSTS, made_two=COSTS.replace("[64, 64]", "[64, 32]"))
    lab.count("made-two", "base", params_m=70.006560)
    assert only(compare(lab), "params_m").verdict == "not run"
    assert only(compare(lab, "made-two"), "params_m").verdict == "reproduced"


@pytest.mark.parametrize(
    ("name", "touched"),
    [
        ("more", {"miou", "miou_gain"}),
        ("more/camvid.test", {"miou", "miou_gain"}),
        ("more/camvid.test.miou_gain", {"miou_gain"}),
        ("more/camvid.test.miou", {"miou"}),
        ("base/camvid.test.iou", {"iou"}),
        ("base/camvid.test.iou.sky", {"iou"}),
    ],
)
def test_contradictions_stand_at_their_figures(lab, name, touched):
    body = PLAIN + f'\ncontradictions:\n  - {{says: it says otherwise, figures: ["{name}"]}}\n'
    report = compare(lab(made_one=body))
    assert {e.figure.metric for e in report.entries if e.contradictions} == touched
    assert report.contradictions == ("it says otherwise",)
