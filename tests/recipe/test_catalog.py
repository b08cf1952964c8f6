"""Bad recipes: every fault of every file at once, each ``file:line: location: sentence``."""

from pathlib import Path

import pytest

from segbench.core.errors import InvalidFault, UsageFault
from segbench.recipe.catalog import add_file, load_catalog, recipes_root
from tests.recipe.made import HEAD, ROWS, line

READING = """\
readings:
  open:
    question: Which?
    options: {a: {says: this, set: {method.alpha: 0.1}}, b: {says: that, set: {method.alpha: 0.2}}}
    default: a
    source: nowhere
    confidence: low
"""


def test_the_shipped_recipes_and_a_made_one_load(write):
    catalog = write(one=HEAD + ROWS + READING)
    assert list(catalog.table("made-one").file.rows) == ["base", "more"]


@pytest.mark.parametrize(
    ("old", "new", "location", "sentence"),
    [
        ("source: nowhere\ndata", "source: nowhere\nsauce: nowhere\ndata", "sauce", "unknown key 'sauce'"),
        ("source: nowhere\ndata", "data", "source", "missing key 'source'"),
        ("version: 1", "version: one", "version", "got 'one'"),
        ("version: 1", "version: 0", "version", "greater than or equal to 1, got 0"),
        ("schema: 1", "schema: 2", "schema", "got 2"),
        ("title: A made table", "title: 7", "title", "valid string, got 7"),
        ("method: {name: contextrast}", "method: supervised", "method", "a map of keys is wanted, got 'supervised'"),
        ("data: {name: camvid}", "data: [camvid]", "data", "a map of keys is wanted, got ['camvid']"),
        ('miou: "70.0"', "miou: 70.0", "rows.base.figures.camvid.test.miou", "must be quoted"),
        ('miou: "70.0"', 'miou: "70,0"', "rows.base.figures.camvid.test.miou", "'70,0' is not a number"),
        ('miou: "70.0"', 'miou: "nan"', "rows.base.figures.camvid.test.miou", "'nan' is not a number"),
        ('printed: "+2.0"', "printed: +2.0", "rows.more.figures.camvid.test.miou_gain.printed", "must be quoted"),
        ('printed: "+2.0", ', "", "rows.more.figures.camvid.test.miou_gain.printed", "missing key 'printed'"),
        ('{miou: "70.0", iou: {sky: "90.0"}}', "{runs: 3}", "rows.base.figures.camvid.test", "figures are missing"),
        ('miou: "70.0"', 'miuo: "70.0"', "rows.base.figures.camvid.test.miuo", "no metric 'miuo'; known: miou"),
        (", over: base}", "}", "rows.more.figures.camvid.test", "miou_gain: a gain or increase"),
        ('{miou: "72.0",', '{miou: {printed: "7", over: base},', "rows.more.figures.camvid.test", "miou: only a gain"),
        ('sky: "90.0"', 'sky: {printed: "9.0", over: more}', "rows.base.figures.camvid.test", "iou.sky: only a gain"),
        ("over: base", "over: bass", "rows.more.figures.camvid.test.miou_gain", "over 'bass', which is no other row"),
        ("over: base", "over: more", "rows.more.figures.camvid.test.miou_gain", "over 'more', which is no other row"),
        ('camvid.test: {miou: "70.0"', 'voc2012.val: {miou: "7"', "rows.more.figures.camvid.test.miou_gain",
         "which has no figures on camvid"),
        ('camvid.test: {miou: "70.0"', 'camvid: {miou: "70.0"', "rows.base", "keyed by data set and split"),
        ("rows:\n  base:\n", "rows:\n  ba/se:\n", "rows.ba/se", "holds a slash"),
        ("    figures: {camvid.test: {miou: \"70.0\"", "    titel: x\n    figures: {camvid.test: {miou: \"70.0\"",
         "rows.base.titel", "unknown key 'titel'"),
        ("default: a", "default: c", "readings.open", "the default 'c' is not among the options a, b"),
        (", b: {says: that, set: {method.alpha: 0.2}}", "", "readings.open", "at least two options"),
        ("{method.alpha: 0.2}", "{mehtod.alpha: 0.2}", "readings.open.options.b.set.mehtod.alpha", "in no section"),
        ("confidence: low", "confidence: none", "readings.open.confidence", "got 'none'"),
        ("confidence: low", "confidence: low\n    when: {rwo: x}", "readings.open.when.rwo", "in no section"),
        ("confidence: low", "confidence: low\n    when: {row: [base, mroe]}", "readings.open.when.row",
         "no row 'mroe'. Close: more"),
        ("rows:", "sources: {method.alpha: {confidence: low}}\nrows:", "sources.method.alpha.source", "missing key"),
        ("rows:", "sources: {mehtod.alpha: x}\nrows:", "sources.mehtod.alpha", "in no section"),
        ("rows:", "sources: {method.alhpa: x}\nrows:", "sources.method.alhpa", "there is no value of that name"),
        ("  more:\n", "  more:\n    sources: {schedule.stesp: x}\n", "rows.more.sources.schedule.stesp",
         "there is no value of that name. Close: schedule.steps"),
        ("  more:\n", "  more:\n    sources: {data.scale: x}\n    datasets: {camvid: {data: {scale: 0.5}, "
         "sources: {data.size: x}}}\n", "rows.more.datasets.camvid.sources.data.size", "Close: data.scale"),
        ("rows:", "margin: {miuo: 1.0}\nrows:", "margin.miuo", "no metric 'miuo'"),
        ('sky: "90.0"', 'sky: {printed: "90.0", tolerance: {points: 1, source: x}}', "rows.base.figures.camvid.test",
         "iou.sky: only a figure that is judged by its spread over seeds can have a tolerance"),
        ('miou: "70.0"', 'params_m: {printed: "7.0", tolerance: {points: 1, source: x}}',
         "rows.base.figures.camvid.test", "params_m: only a figure that is judged by its spread over seeds can have a"),
        ('miou: "70.0"', 'miou: {printed: "70.0", tolerance: {points: 0, source: x}}',
         "rows.base.figures.camvid.test.miou.tolerance.points", "greater than 0"),
        ('miou: "70.0"', 'miou: {printed: "70.0", tolerance: {points: 1}}',
         "rows.base.figures.camvid.test.miou.tolerance.source", "missing key"),
        ("rows:", "base: {camvid: made-two/base}\nrows:", "base.camvid",
         "no row 'made-two/base'. Close: made-one/base"),
        ("  more:\n", "  more:\n    base: made-one/bass\n", "rows.more.base", "no row 'made-one/bass'"),
        ("  more:\n", "  more:\n    datasets: {camvdi: {data: {scale: 0.5}}}\n", "rows.more.datasets.camvdi",
         "Close: camvid"),
        ("rows:", "stages: [{name: a, mehtod: {alpha: 1}}]\nrows:", "stages.0.mehtod", "unknown key 'mehtod'"),
        ("rows:", "stages: [{method: {alpha: 1}}]\nrows:", "stages.0.name", "missing key 'name'"),
        ("rows:", "stages: [{name: a}, {name: a}]\nrows:", "", "two stages are called 'a'"),
        ("rows:", "stages: [{name: a.b}]\nrows:", "stages.0.name", "cannot be part of a dotted path"),
        ("rows:", "stages: [{name: a, streams: {x: {batch: 2}}}]\nrows:", "stages.0.streams.x.batch", "unknown key"),
        ("rows:", "contradictions: [{says: x, figures: [bases]}]\nrows:", "contradictions.0.figures.0", "Close: base"),
    ],
)  # fmt: skip
def test_one_fault(faults, old, new, location, sentence):
    text = HEAD + ROWS + READING
    assert old in text
    text = text.replace(old, new, 1)
    (fault,) = faults(one=text)
    where, _, rest = fault.partition(": ")
    assert where.startswith("made/one.yaml:")
    assert 0 < int(where.split(":")[1]) <= len(text.splitlines())
    assert rest.startswith(location)
    assert sentence in rest


def test_all_faults_of_all_files_at_once_with_their_lines(faults):
    one = (HEAD + ROWS + READING).replace("version: 1", "version: one").replace('miou: "70.0"', "miou: 70")
    one = one.replace("confidence: low", "confidence: none") + "extra: 1\nextra: 2\n"
    two = HEAD.replace("made-one", "made-two") + "base: {camvid: made-one/base}\n" + ROWS.replace("+2.0", "x")
    found = faults(one=one, two=two, budgets="schema: 1\nbudgets: {tiny: {max_steps: 0}}\n")
    assert [fault.split(": ")[0] for fault in found] == [
        f"made/one.yaml:{len(one.splitlines())}",
        f"made/one.yaml:{line(one, 'version')}",
        f"made/one.yaml:{line(one, 'miou: 70,')}",
        f"made/one.yaml:{line(one, 'confidence')}",
        f"made/one.yaml:{line(one, 'extra: 1')}",
        f"made/two.yaml:{line(two, 'miou_gain')}",
        "budgets.yaml:2",
        "budgets.yaml:2",
    ]
    # made-one could not be read, so that nothing is said of the row that made-two builds on.
    assert not any("no row" in fault for fault in found)


def test_several_faults_of_references(faults):
    text = HEAD + "base: {camvid: made-one/bass}\n" + ROWS.replace("over: base", "over: bass")
    text += "contradictions:\n  - says: x\n    figures:\n"
    text += "      - base\n      - base/camvid.val\n      - more/camvid.test.dice\n"
    found = faults(one=text)
    assert [int(fault.split(":")[1]) for fault in found] == [
        line(text, "base: {camvid"), line(text, "over: bass"), line(text, "camvid.val"), line(text, "test.dice")
    ]  # fmt: skip


def test_two_tables_of_one_name(faults):
    assert faults(one=HEAD + ROWS, two=HEAD + ROWS) == ["made/two.yaml:3: table 'made-one' exists already"]


@pytest.mark.parametrize("text", ["", "- a", "just words"])
def test_a_file_that_is_no_map(faults, text):
    assert faults(one=text) == ["made/one.yaml: a recipe is a map of keys"]


def test_only_one_step_of_building_on_another_row(faults):
    rows = ROWS.replace("  more:\n", "  more:\n    base: made-one/base\n")
    two = HEAD.replace("made-one", "made-two") + "base: {camvid: made-one/more}\n" + ROWS
    (fault,) = faults(one=HEAD + rows, two=two)
    assert fault.startswith(
        f"made/two.yaml:{line(two, 'base: {camvid')}: base.camvid: made-one/more builds on another row"
    )


def test_a_base_for_a_data_set_that_no_row_has(faults):
    two = HEAD.replace("made-one", "made-two") + "base: {camvdi: made-one/base}\n" + ROWS
    (fault,) = faults(one=HEAD + ROWS, two=two)
    assert fault.endswith("base.camvdi: no row has figures on 'camvdi'. Close: camvid")


def test_readings_that_a_paper_shares(faults):
    text = (
        "schema: 1\npaper: made\ntitle: Made\ncite: nowhere\n" + READING + "    when: {row: [basa], table: made-two}\n"
    )
    found = faults(one=HEAD + ROWS, readings=text)
    assert [fault.partition(": ")[2] for fault in found] == [
        "readings.open.when.row: no row 'basa'. Close: base",
        "readings.open.when.table: no table 'made-two'. Close: made-one",
    ]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("base", True), ("base/camvid.test", True), ("base/camvid.test.miou", True), ("base/camvid.test.iou", True),
        ("base/camvid.test.iou.sky", True), ("more/camvid.test.miou_gain", True),
        ("made-one/base", False), ("base:miou", False), ("base/camvid.test/miou", False), ("base/camvid", False),
        ("base/camvid.val.miou", False), ("base/camvid.test.miou_gain", False), ("base/camvid.test.iou.road", False),
        ("base/camvid.test.miou.sky", False), ("base/", False),
    ],
)  # fmt: skip
def test_one_form_names_a_contradicted_figure(faults, name, known):
    text = f'{HEAD}{ROWS}contradictions: [{{says: x, figures: ["{name}"]}}]\n'
    assert (not faults(one=text)) == known


def test_own_file(shipped, tmp_path):
    catalog = load_catalog(recipes_root())
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD.replace("made-one", "mine") + "base: {camvid: contextrast-table1/camvid-hrnet}\n" + ROWS)
    table = add_file(catalog, path)
    assert (table.name, table.paper) == ("mine", "own")
    assert catalog.table("mine") is table
    assert "mine" not in shipped.tables


def test_own_file_with_faults_is_not_added(tmp_path):
    catalog = load_catalog(recipes_root())
    before = set(catalog.tables)
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "base: {camvid: contextrast-table1/camvid-hrnte}\n" + ROWS.replace("base}", "bass}"))
    with pytest.raises(InvalidFault) as caught:
        add_file(catalog, path)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["mine.yaml", "mine.yaml"]
    assert "contextrast-table1/camvid-hrnet" in caught.value.faults[0]
    assert set(catalog.tables) == before
    path.write_text(HEAD.replace("made-one", "contextrast-table6") + ROWS)
    with pytest.raises(InvalidFault, match="exists already"):
        add_file(catalog, path)
    assert set(catalog.tables) == before
    with pytest.raises(InvalidFault, match="cannot be read"):
        add_file(catalog, Path("nowhere.yaml"))


def test_unknown_names_suggest_close_ones(shipped):
    with pytest.raises(UsageFault, match="Close: contextrast-table"):
        shipped.table("contextrast-tabel6")
    with pytest.raises(UsageFault, match=r"Close: layers-4-3-2-1, layers-4-3-2"):
        shipped.table("contextrast-table6").row("layers-4-3-2-")
    with pytest.raises(UsageFault, match=r"Rows: layers-4, layers-4-3, layers-4-3-2, layers-4-3-2-1\."):
        shipped.table("contextrast-table6").row("zzz")
    with pytest.raises(UsageFault, match="Known: full, small, smoke"):
        shipped.budget("big")
    assert shipped.budget("full") is None
