"""Execution of a plan, without the command line."""

from pathlib import Path

import pytest

from segbench.core.errors import Interrupted, MissingFault, RunFault
from segbench.core.progress import Observer
from segbench.engine.runtime import Runtime
from segbench.recipe.catalog import Catalog, add_file, load_catalog, recipes_root
from segbench.recipe.resolve import Request
from segbench.reproduce.execute import Execution, execute
from segbench.reproduce.folders import Folders
from segbench.reproduce.job import Job
from segbench.reproduce.launch import DebugLauncher, Launcher
from segbench.reproduce.outcome import JobFailure
from segbench.reproduce.plan import Plan, make_plan
from segbench.results.store import Store
from tests.program import SETTINGS
from tests.reproduce.test_plan import TWINS

TINY = Request(
    "smoke", settings=tuple((path, [64, 64] if "crop" in path else value) for path, value in SETTINGS.items())
)


class Watching(Observer):
    """Observer that remembers what was announced."""

    def __init__(self) -> None:
        self.announced: list[tuple[str, int, int]] = []
        self.stop = False

    def announce(self, title: str, number: int, total: int) -> None:
        self.announced.append((title, number, total))

    def stop_requested(self) -> bool:
        return self.stop


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = load_catalog(recipes_root())
    (tmp_path / "twins.yaml").write_text(TWINS)
    add_file(catalog, tmp_path / "twins.yaml")
    return catalog


class Run:
    """Executes plans of one results folder."""

    def __init__(self, catalog: Catalog, root: Path) -> None:
        self.catalog = catalog
        self.folders = Folders(root, root / "data")
        self.observer = Watching()

    @property
    def store(self) -> Store:
        return self.folders.store

    def plan(self, **words: object) -> Plan:
        return make_plan(self.catalog, "twins", self.folders, **{"request": TINY, **words})  # type: ignore[arg-type]

    def __call__(self, plan: Plan, launcher: Launcher | None = None) -> Execution:
        return execute(plan, self.folders, Runtime(workers=0), launcher=launcher, observer=self.observer)


@pytest.fixture
def run(catalog: Catalog, tmp_path: Path) -> Run:
    return Run(catalog, tmp_path / "results")


def test_one_training_serves_all_that_share_it(run: Run) -> None:
    plan = run.plan()
    for item in plan.items:
        item.seconds = 100.0 if item.status == "to do" else None
    assert plan.job_seconds() == [100.0, 100.0]
    execution = run(plan)
    assert execution.failed == []
    assert run.observer.announced == [("plain · camvid · seed 0", 1, 2), ("other · camvid · seed 0", 2, 2)]
    records = {record.id: record for record in run.store.records()}
    assert [len(result.records) for result in execution.done] == [2, 1], "plain and twin have one evaluation"
    assert {record.id for result in execution.done for record in result.records} == set(records)
    assert set(records) == {item.evaluation for item in plan.items}
    assert len({record.training for record in records.values()}) == len(plan.trainings())
    assert {attempt.row for attempt in run.store.attempts("twins")} == {item.name for item in plan.items}
    assert run.plan().trainings() == {} and run.plan().jobs() == []


def test_a_stop_passes_through_and_what_is_done_stays(run: Run) -> None:
    run.observer.stop = True
    with pytest.raises(Interrupted):
        run(run.plan())
    assert not list(run.store.records())
    assert len(run.observer.announced) == 1, "nothing else was begun"
    assert all(run.store.failure(path.name) is None for path in (run.store.root / "trainings").iterdir())


def test_failures_are_noted_and_forgotten(run: Run) -> None:
    plan = run.plan(row="plain", request=Request("smoke", settings=(*TINY.settings, ("schedule.optimizer.lr", 1e30))))
    (training,) = plan.trainings()
    execution = run(plan)
    (failure,) = execution.failed
    assert failure.job.label == "plain on camvid" and execution.done == []
    assert run.store.failure(training) == " ".join(failure.error.faults) != ""
    run.store.note_failure(next(iter(run.plan(row="other").trainings())), "A file is missing.")
    assert run(run.plan(row="other")).failed == []
    assert run.store.failure(next(iter(run.plan().trainings()))) is None


def test_one_failure_does_not_keep_the_others_from_running(run: Run) -> None:
    def broken(job: Job, *_: object) -> JobFailure:
        return JobFailure(job, MissingFault("A file is missing."))

    launcher = DebugLauncher(broken)
    execution = run(run.plan(), launcher)
    assert len(execution.failed) == len(launcher.jobs) == 2


def test_nothing_starts_where_nothing_can_be_written(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = Run(catalog, tmp_path / "file" / "results")
    with pytest.raises(RunFault):
        run(run.plan())
    assert run.observer.announced == []


def test_the_checkpoint_that_the_protocol_names_is_scored(run: Run) -> None:
    """Two of six steps make a better network than all of them, whose learning rate is far too large."""
    wild = (*TINY.settings, ("schedule.steps", 6), ("schedule.optimizer.lr", 50.0))
    best = Request("smoke", settings=(*wild, ("evaluation.checkpoint", "best")))
    run(run.plan(row="plain", request=Request("smoke", settings=wild)))
    (last,) = run.store.records()
    run(run.plan(row="plain", request=best))
    (better,) = (record for record in run.store.records() if record.id != last.id)
    assert better.training == last.training, "another checkpoint never retrains"
    assert better.evaluation_spec["checkpoint"] == "best"
    assert (last.validation["best"] == last.validation["last"]) == (better.figures["miou"] == last.figures["miou"])
