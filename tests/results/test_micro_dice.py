"""A Dice coefficient that is pooled over the classes: what it is compared with, and how a report calls it."""

from segbench.results.compare import compare_table
from segbench.results.formats import render

BODY = """
rows:
  pooled: {figures: {camvid.test: {dice: {printed: "89.2", average: micro}}}}
  mean: {method: {alpha: 0.5}, figures: {camvid.test: {dice: "50.0"}}}
"""
T = "made-one"


def test_each_figure_is_compared_with_its_own_average(lab):
    lab = lab(made_one=BODY)
    lab.run(T, "pooled", [89.0], metric="pixel_accuracy", seeds=[0])
    lab.run(T, "mean", [50.5], metric="dice", seeds=[0])
    report = compare_table(lab.catalog, T, lab.store)
    assert [round(entry.measured, 1) for entry in report.entries] == [89.0, 50.5]
    assert "pooled over the classes" in render(report, "terminal", width=10_000)
