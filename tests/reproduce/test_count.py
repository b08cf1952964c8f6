"""Figures that need no training, through to the report."""

from pathlib import Path

from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request
from segbench.reproduce.count import count_item
from segbench.reproduce.plan import make_plan
from segbench.results.compare import compare_table
from segbench.results.formats import render
from segbench.results.store import Store


def test_counts_name_their_rule_and_the_usual_count_beside(tmp_path: Path) -> None:
    """2,582.19 G is twice the 1,291.095 G multiply-adds that the network's convolutions have at 1024x2048."""
    store = Store(tmp_path)
    plan = make_plan(default_catalog(), "contextrast-table7", store, row="baseline", request=Request())
    store.write(count_item(plan.items[0]))
    text = render(compare_table(default_catalog(), "contextrast-table7", store), "terminal", width=200)
    assert "counting rule thop: Multiply-adds of convolutions" in text
    assert "the usual FLOP count (a multiply-add is two): Baseline 2,582.19 G" in text
