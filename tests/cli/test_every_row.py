"""Every row that a table calls runnable runs, from the command line to its record."""

import math
from pathlib import Path

import pytest

from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request, Resolved, resolve_all
from segbench.results.store import Store
from tests.program import segbench

TABLES = list(default_catalog().tables)
STEPS = 3


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_few_steps_at_the_smallest_budget(tmp_path: Path, table: str) -> None:
    """Rows with several data sets run on each; equal trainings run once."""
    rows = _few(table)
    if not rows:
        pytest.skip("nothing of the table is trained by this version")
    few = [f"--set=schedule.steps={STEPS}", f"--set=schedule.validate_every={STEPS}"]
    done = segbench("reproduce", table, "--budget", "smoke", "-y", "-q", *few, "--device", "cpu", "--out", tmp_path)
    assert done.code == 0, done.err
    records = [record for record in Store(tmp_path).records() if record.kind == "training"]
    assert {(record.family, record.dataset) for record in records} >= {
        (made.ran.training.family(), made.ran.evaluation.data.name) for made in rows
    }
    steps = {made.ran.training.family(): made.ran.training.stages[-1].schedule.steps for made in rows}
    for record in records:
        miou = record.figures["miou"]
        assert miou is not None and math.isfinite(miou), record
        assert record.validation["curve"][-1]["step"] == steps[record.family]  # a stage may have a length of its own


def _few(table: str) -> list[Resolved]:
    """The table's rows that run, as the command asks for them."""
    settings = (("schedule.steps", STEPS), ("schedule.validate_every", STEPS))
    rows = resolve_all(default_catalog(), table, Request("smoke", settings=settings))
    return [each for each in rows if not each.unsupported and each.ran.training is not None and each.ran.cost is None]
