"""Every row that a table calls runnable runs, from the command line to its record."""

import math
from pathlib import Path

import pytest

from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request, Resolved, resolve, resolve_all
from segbench.results.store import Store
from tests.data.camvid_tree import tree_options, write_tree
from tests.program import segbench

TABLES = list(default_catalog().tables)
STEPS = 3
TWO_SOURCES = "semiseg-table3"


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


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_few_steps_on_images_like_camvid(tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small budget reads files: rows of CamVid on it, rows of Cityscapes moved to it; two sources cannot move."""
    monkeypatch.setattr("segbench.data.sets.camvid.options.Options", lambda: tree_options(size=(360, 480)))
    write_tree(tmp_path / "data" / "camvid", size=(360, 480))
    found = default_catalog().table(table)
    datasets = {dataset for row in found.file.rows for dataset in found.datasets(row)}
    where = ["--dataset", "camvid"] if "camvid" in datasets else ["--dataset", "cityscapes", "--on", "camvid"]
    if not datasets & {"camvid", "cityscapes"} or not _few(table):
        pytest.skip("neither CamVid nor Cityscapes is trained on")
    places = ["--data-root", tmp_path / "data", "--out", tmp_path / "out", "--device", "cpu"]
    rows = [row for row in found.file.rows if where[1] in found.datasets(row)]
    for row in rows:
        few = [f"--set={path}={STEPS}" for path in _lengths(table, row, where[1])]
        done = segbench("reproduce", f"{table}/{row}", *where, "--budget", "small", "-y", "-q", *few, *places)
        if table == TWO_SOURCES:
            assert "cannot stand for both" in done.fails(2)
        elif done.code != 0:  # systems that are quoted and need what is not here say so
            assert "waits for" in done.err or "cannot run here" in done.err, (row, done.err)
    if table != TWO_SOURCES:
        records = [record for record in Store(tmp_path / "out").records() if record.kind == "training"]
        assert records and {record.dataset for record in records} == {"camvid"}
        assert all(record.figures["miou"] is not None for record in records)


def _lengths(table: str, row: str, dataset: str) -> list[str]:
    """Settings of the numbers of steps: a stage may have a length of its own."""
    training = resolve(default_catalog(), table, row, dataset).published.training
    stages = training.stages if training is not None and len(training.stages) > 1 else ()
    names = ["schedule", *(f"stages.{stage.name}.schedule" for stage in stages)]
    return [f"{name}.{key}" for name in names for key in ("steps", "validate_every")]


def _few(table: str) -> list[Resolved]:
    """The table's rows that run, as the command asks for them."""
    settings = (("schedule.steps", STEPS), ("schedule.validate_every", STEPS))
    rows = resolve_all(default_catalog(), table, Request("smoke", settings=settings))
    return [each for each in rows if not each.unsupported and each.ran.training is not None and each.ran.cost is None]
