"""Reports read as they should: structure, escapes, and formats that other programs can parse."""

import csv
import io
import json
import re
import subprocess
import sys

import pytest

from segbench.recipe.resolve import Request
from segbench.results.compare import compare_table
from segbench.results.formats import formats, render
from segbench.results.formats.markdown import escape
from segbench.results.render.cells import number
from tests.results.guess import GUESS

T = "made-one"
BODY = """
margin: {miou: 0.5}
rows:
  base: {title: "Base | *plain*", figures: {camvid.test: {miou: "70.0", iou: {sky: "90.0", pole: "40.0"}}}}
  more:
    title: More
    method: {alpha: 0.5}
    figures: {camvid.test: {runs: 3, miou: "72.0", miou_gain: {printed: "+2.0", over: base}}}
  slow:
    method: {alpha: 0.6}
    figures: {camvid.test: {miou: {printed: "710.0", read_as: "71.0"}}}
  none: {method: {alpha: 0.7}, figures: {camvid.test: {miou: "71.0"}}}
"""
BODY += GUESS
BODY += """
contradictions:
  - {says: the text has 71.9, figures: ["more/camvid.test.miou"]}
"""


@pytest.fixture
def report(lab):
    lab = lab(made_one=BODY)
    machine = {"device": "cpu", "precision": "float32"}
    lab.run(T, "base", [68.0, 68.1, 67.9], per_class={"sky": 80.0, "pole": 39.0}, provenance=machine)
    lab.run(T, "more", [72.0, 72.1, 71.9], provenance=machine)
    lab.run(T, "slow", [50.0], request=Request(budget="small"), provenance=machine, asked=True)
    return compare_table(lab.catalog, T, lab.store)


def cells(text, first):
    """The cells of the Markdown line that begins with a row's title."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_lines(report):
    text = render(report, "markdown")
    assert "## made-one · camvid test · mIoU (%)" in text
    assert "3 seeds a row" in text or "1 to 3 seeds a row" in text
    assert "margin 0.5" in text
    assert "pooled over 2 rows: s = 0.10" in text
    base = cells(text, r"Base \| \*plain\*")
    assert base[:5] == [r"Base \| \*plain\*", "70.0", "68.00 ± 0.10", "-2.00", "lower"]
    more = cells(text, "More")
    assert more[:5] == ["More", "72.0 †", "72.00 ± 0.10", "0.00", "reproduced"]
    assert "mean of 3 runs" in more[5]
    assert cells(text, r"gain of More over Base \| \*plain\*")[1:3] == ["+2.0", "+4.00 ± 0.14"]
    assert cells(text, "slow")[1:5] == ["710.0 (read 71.0)", "50.00", "-21.00", "not comparable"]
    assert cells(text, "none")[1:5] == ["71.0", "-", "-", "not run"]
    assert "deviations (slow): steps 50 of 100" in text
    assert "† the text has 71.9" in text
    assert "Classes that make the difference (Base \\| \\*plain\\*): sky -10.0, pole -1.0" in text
    assert "Rests on 1 reading of low confidence (guess)" in text
    assert "a `lower` here may be the reading, not the paper" in text
    assert "Attempts so far: 1 reading set, 7 trainings, budgets full, small." in text
    assert "Next: `segbench reproduce made-one/none`" in text
    assert text.endswith(
        "**1 of 4 reproduced, 1 lower, 1 not comparable, 1 not run; the gain is higher; here the gain holds.**\n"
    )


def test_brief_reports_have_a_line_of_deviations(lab):
    """What all rows share counts once; the rest is asked for."""
    lab = lab(made_one=BODY)
    lab.run(T, "slow", [50.0], request=Request("small"), asked=True)
    one = compare_table(lab.catalog, T, lab.store)
    assert "1 deviation: steps 50 of 100 (--deviations: all)" in render(one, "terminal", brief=True)
    assert "deviations: steps 50 of 100\n" in render(one, "terminal", width=10_000)
    changed = Request(
        "small", settings=(("data.scale", 0.5), ("schedule.policy.power", 0.8), ("augmentation.flip", 0.5))
    )
    lab.run(T, "base", [60.0], request=changed, asked=True)
    text = render(compare_table(lab.catalog, T, lab.store), "terminal", brief=True, width=10_000)
    assert "1 deviation: steps 50 of 100; up to 3 besides of single rows (--deviations: all)" in text
    lab.run(T, "slow", [51.0], request=changed, asked=True)
    lab.run(T, "none", [51.0], request=changed, asked=True)
    text = render(compare_table(lab.catalog, T, lab.store), "terminal", brief=True, width=10_000)
    assert "deviations: " not in text.replace("(--deviations: all)", "")


def test_a_tolerance_is_told(lab):
    tolerance = '{points: 1.5, source: "their later code gives 68.5"}'
    lab = lab(made_one=BODY.replace('miou: "70.0"', f'miou: {{printed: "70.0", tolerance: {tolerance}}}'))
    lab.run(T, "base", [68.5, 68.55, 68.45])
    report = compare_table(lab.catalog, T, lab.store)
    text = render(report, "markdown")
    base = cells(text, r"Base \| \*plain\*")
    assert base[4] == "reproduced" and "tolerance 1.5: their later code gives 68.5" in base[5]
    assert "margin 0.5" in text and text.count("tolerance") == 1
    lines = csv.DictReader(io.StringIO(render(report, "csv")))
    found = {(line["row"], line["metric"]): float(line["tolerance"]) for line in lines}
    assert {name: points for name, points in found.items() if points} == {("base", "miou"): 1.5}


def test_every_markdown_table_line_has_as_many_cells_as_its_header(report):
    lines = [line for line in render(report, "markdown", per_class=True).splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {8, 7}


def test_per_class_only_when_asked(report):
    assert "IoU by class" not in render(report, "markdown")
    text = render(report, "markdown", per_class=True)
    base = [line for line in text.splitlines() if "| sky |" in line]
    assert base == [r"| Base \| \*plain\* | sky | 90.0 | 80.00 | -10.00 |"]


def test_classes_that_are_not_printed_stand_side_by_side(lab):
    """A line a class, a column a row; of the data that they were measured on."""
    lab = lab(made_one=BODY.replace(', iou: {sky: "90.0", pole: "40.0"}', ""))
    away = Request("small", on="cityscapes")
    lab.run(T, "base", [68.0], per_class={"sky": 80.0, "pole": 39.0}, request=away, asked=True)
    lab.run(T, "more", [72.0], per_class={"pole": 41.5, "tree": None}, request=away, asked=True)
    report = compare_table(lab.catalog, T, lab.store)
    text = render(report, "markdown", per_class=True)
    below = text.split("## made-one · camvid, on cityscapes · IoU by class (%)\n\n")[1].splitlines()
    assert below[:5] == [
        r"| class | Base \| \*plain\* | More |",
        "| --- | ---: | ---: |",
        "| sky | 80.00 | - |",
        "| pole | 39.00 | 41.50 |",
        "| tree | - | - |",
    ]
    lines = [line.split() for line in render(report, per_class=True, width=200).splitlines()]
    assert ["pole", "39.00", "41.50"] in lines and ["sky", "80.00", "-"] in lines


def test_escape_leaves_nothing_to_markdown():
    assert escape("a|b\n<script> `x` _y_ [z](u)") == r"a\|b \<script\> \`x\` \_y\_ \[z\](u)"


@pytest.mark.parametrize(
    ("value", "text"), [(0.004, "0.00"), (-0.004, "0.00"), (1295.857, "+1295.86"), (-1.0, "-1.00"), (None, "-")]
)
def test_numbers(value, text):
    assert number(value, 2, sign=True) == text


def test_json_parses_and_has_no_nan(report):
    text = render(report, "json", per_class=True)

    def refuse(word):
        raise AssertionError(word)

    data = json.loads(text, parse_constant=refuse)
    assert data["schema"] == 1
    (one,) = data["reports"]
    assert len(one["figures"]) == 7
    figures = {(figure["row"], figure["metric"], figure["class"]): figure for figure in one["figures"]}
    base = figures["base", "miou", None]
    assert (base["verdict"], base["printed"], base["values"]) == ("lower", "70.0", [68.0, 68.1, 67.9])
    assert figures["slow", "miou", None]["deviations"] == ["steps 50 of 100"]
    assert figures["slow", "miou", None]["budget"] == "small"
    assert figures["none", "miou", None]["measured"] is None
    assert one["counts"] == {"reproduced": 1, "lower": 1, "higher": 1, "not comparable": 1, "not run": 1}
    slow = next(row for row in one["rows"] if row["row"] == "slow")
    assert slow["attempts"][0]["figures"] == {"miou": [50.0]}
    assert slow["attempts"][0]["asked"] is True


def test_csv_has_one_line_a_figure_of_every_report(report):
    rows = list(csv.DictReader(io.StringIO(render([report, report], "csv"))))
    assert len(rows) == 14
    assert rows[0]["printed"] == "70.0"
    assert rows[0]["verdict"] == "lower"
    assert rows[0]["seeds"] == "0; 1; 2"
    assert float(rows[0]["difference"]) == pytest.approx(-2.0)


@pytest.mark.parametrize("width", [60, 100, 160])
def test_terminal_keeps_to_its_width_and_ends_with_the_summary(report, width):
    text = render(report, "terminal", width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    tail = " ".join(text.splitlines()[-2:])
    assert tail.endswith("here the gain holds.")
    assert "not comparable" in text  # a verdict is never broken over lines
    assert "steps 50 of 100" in " ".join(text.split())


def test_terminal_aligns_numbers_to_the_right(report):
    lines = render(report, "terminal", width=160).splitlines()
    header = next(line for line in lines if line.startswith("row"))
    end = header.index("published") + len("published")
    assert lines[lines.index(header) + 1][:end].endswith(" 70.0")
    assert lines[lines.index(header) + 3][:end].endswith(" +2.0")


def test_terminal_colour_only_when_asked(report):
    assert "\x1b[32m" in render(report, "terminal", color=True)


def test_titles_are_no_console_markup(lab):
    body = 'rows:\n  base: {title: "[red]x[/red]", figures: {camvid.test: {miou: "70.0"}}}\n'
    lab = lab(made_one=body)
    assert "[red]x[/red]" in render(compare_table(lab.catalog, T, lab.store), "terminal")


def test_terminal_and_markdown_hold_the_same_facts(lab):
    """Word for word, whatever the marks around them; a contradiction that names no figure included."""
    lab = lab(made_one=BODY + "  - {says: the caption has 4 rows}\n")
    lab.run(T, "base", [68.0, 68.1, 67.9], per_class={"sky": 80.0, "pole": 39.0})
    lab.run(T, "more", [72.0], request=Request("small"), asked=True)
    report = compare_table(lab.catalog, T, lab.store)
    for per_class in (False, True):
        plain = render(report, "terminal", per_class=per_class, width=10_000)
        marked = re.sub(
            r"^(\| |- |#+ |\*\*)|( \||\*\*)$", "", render(report, "markdown", per_class=per_class), flags=re.M
        )
        marked = re.sub(r"(?<!\\)\| ", "", re.sub(r"^---.*", "", marked, flags=re.M)).replace("Next: `", "Next: ")
        marked = re.sub(r"`$", "", re.sub(r"\\(.)", r"\1", marked), flags=re.M)
        assert marked.split() == plain.split()
    assert "Contradiction in the publication: the caption has 4 rows" in plain


def test_the_title_says_which_table(report):
    assert render(report).startswith("made-one: A made table\nnowhere\n\nmade-one · camvid test · mIoU (%)\n")


@pytest.mark.parametrize("form", formats())
def test_empty_store_renders(lab, form):
    lab = lab(made_one=BODY)
    text = render(compare_table(lab.catalog, T, lab.store), form, per_class=True)
    assert "not run" in text


def test_reports_need_neither_torch_nor_rich():
    code = (
        "import sys; import segbench.results.compare, segbench.results.frames; "
        "from segbench.results.formats import formats, load_format; "
        "[load_format(name) for name in formats()]; "
        "assert not {'torch', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
