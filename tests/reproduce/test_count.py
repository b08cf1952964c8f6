"""Figures that need no training, through to the report."""

from pathlib import Path

from segbench.engine.runtime import Runtime
from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request
from segbench.reproduce.folders import Folders
from segbench.reproduce.plan import make_plan
from segbench.reproduce.run import run_job
from segbench.results.compare import compare_table
from segbench.results.formats import render


def test_counts_name_their_rule_and_the_usual_count_beside(tmp_path: Path) -> None:
    """2,582.19 G is twice the 1,291.095 G multiply-adds that the network's convolutions have at 1024x2048."""
    folders = Folders(tmp_path, tmp_path / "data")
    plan = make_plan(default_catalog(), "contextrast-table7", folders, row="baseline", request=Request())
    (job,) = plan.jobs()
    run_job(job, folders, Runtime())
    text = render(compare_table(default_catalog(), "contextrast-table7", folders.store), "terminal", width=200)
    assert "counting rule thop: Multiply-adds of convolutions" in text
    assert "the usual FLOP count (a multiply-add is two): Baseline 2,582.19 G" in text
