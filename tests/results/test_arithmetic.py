"""The explanation of a verdict: its numbers are those that a referee gets by hand."""

import math
import re

import pytest

from segbench.recipe.resolve import Request
from segbench.results.arithmetic import explain
from segbench.results.compare import compare_table
from tests.program import segbench

T = "made-one"
BODY = """
margin: {miou: 1.0}
rows:
  base: {title: Base, figures: {camvid.test: {runs: 3, miou: "70.0"}}}
  more: {title: More, over: base, method: {alpha: 0.5}, figures: {camvid.test: {miou: "72.0"}}}
"""


def lines_of(lab, row):
    report = compare_table(lab.catalog, T, lab.store)
    return explain(report, next(entry for entry in report.entries if entry.figure.row == row))


def test_every_number_by_hand(lab):
    lab = lab(made_one=BODY)
    lab.run(T, "base", [70.1, 70.2, 70.3])
    lab.run(T, "more", [72.0, 72.1, 71.9])
    text = "\n".join(lines_of(lab, "base"))
    error = 0.1 * math.sqrt(1 / 3 + 1 / 3)  # 0.0816; t(4) is 2.132 and 2.776
    for part in (
        "P = 70.0, rounded by at most r = 0.05; runs behind it m = 3",
        "n = 3 seeds: 70.10, 70.20, 70.30, mean 70.2000",
        "d = 70.2000 - 70 = +0.2000",
        "s = 0.1000 with 4 degrees of freedom, pooled over 2 rows",
        f"n = 3, m = 3: {error:.4f} with 4 degrees of freedom",
        "M = 1,",
        f"(2.132 * {error:.4f} + 0.05) = {0.2 - 2.131847 * error - 0.05:+.4f} to {0.2 + 2.131847 * error + 0.05:+.4f}",
        f"(2.776 * {error:.4f} + 0.05) = {0.2 - 2.776445 * error - 0.05:+.4f} to {0.2 + 2.776445 * error + 0.05:+.4f}",
        "verdict     reproduced: ",
    ):
        assert part in re.sub(r"M = 1\b", "M = 1", text), part
    gain = "\n".join(lines_of(lab, "more"))
    assert "printed gain +2, here +1.8000" in gain and "answer      gain holds" in gain
    assert f"+1.8000 -/+ 2.776 * {error:.4f} = {1.8 - 2.776445 * error:+.4f} to" in gain
    assert len(lines_of(lab, "base")) == 10


def test_without_a_spread_it_says_so(lab):
    lab = lab(made_one=BODY)
    lab.run(T, "base", [70.1], request=Request("small"))
    lab.run(T, "more", [71.9], request=Request("small"))
    lines = lines_of(lab, "more")
    assert lines[2].startswith("verdict     not comparable")
    assert lines[-1] == "answer      gain unclear (provisional): no spread over seeds is known"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("contextrast-table6/layers-4-5",), "No row 'layers-4-5' in contextrast-table6"),
        (("contextrast-tabel6",), "No table 'contextrast-tabel6'. Close: contextrast-table6"),
        (("contextrast-table6", "--metric", "mioo"), "No figure of 'mioo' there. Close: miou"),
        (("semiseg-reference",), "No figure is printed for semiseg-reference"),
    ],
)
def test_slips(tmp_path, words, said):
    assert said in segbench("explain-verdict", *words, "--out", tmp_path).fails(2)


def test_the_command(tmp_path):
    done = segbench("explain-verdict", "contextrast-table6/layers-4-3", "--dataset", "camvid", "--out", tmp_path)
    assert done.code == 0 and done.out.startswith("contextrast-table6/layers-4-3 · camvid")
    assert "verdict     not run" in done.out
