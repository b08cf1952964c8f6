"""Doing what a plan says, without the command line."""

from pathlib import Path

import pytest

from segbench.core.errors import Interrupted, MissingFault, RunFault
from segbench.engine import train
from segbench.engine.progress import Silent
from segbench.engine.runtime import Runtime
from segbench.recipe.catalog import Catalog, add_file, load_catalog, recipes_root
from segbench.recipe.resolve import Request
from segbench.reproduce import execute as module
from segbench.reproduce.execute import Context, execute
from segbench.reproduce.plan import Plan, make_plan
from segbench.results.store import Store
from tests.program import SETTINGS
from tests.reproduce.test_plan import TWINS

TINY = Request(
    "smoke", settings=tuple((path, [64, 64] if "crop" in path else value) for path, value in SETTINGS.items())
)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = load_catalog(recipes_root())
    (tmp_path / "twins.yaml").write_text(TWINS)
    add_file(catalog, tmp_path / "twins.yaml")
    return catalog


class Run:
    """Executes plans of one store, and remembers what was announced."""

    def __init__(self, catalog: Catalog, root: Path) -> None:
        self.catalog, self.store = catalog, Store(root)
        self.announced: list[tuple[str, int, int, float]] = []
        self.stop = False

    def plan(self, **words: object) -> Plan:
        return make_plan(self.catalog, "twins", self.store, request=TINY, **words)  # type: ignore[arg-type]

    def __call__(self, plan: Plan) -> module.Outcome:
        context = Context(self.store, Runtime(workers=0), None, Silent(), lambda: self.stop)
        return execute(plan, context, announce=lambda *words: self.announced.append(words))


@pytest.fixture
def run(catalog: Catalog, tmp_path: Path) -> Run:
    return Run(catalog, tmp_path / "results")


def test_one_training_serves_all_that_share_it(run: Run) -> None:
    plan = run.plan()
    for item in plan.items:
        item.seconds = 100.0 if item.status == "to do" else None
    outcome = run(plan)
    assert [item.name for item in outcome.done] == ["plain", "twin", "scored-otherwise", "other"]
    assert outcome.failed == []
    assert [words[1:] for words in run.announced] == [(1, 2, 100.0), (2, 2, 0.0)]
    records = {record.id: record for record in run.store.records()}
    assert len(records) == len({item.evaluation for item in outcome.done})
    assert len({record.training for record in records.values()}) == len(plan.trainings())
    assert {attempt.row for attempt in run.store.attempts("twins")} == {item.name for item in plan.items}
    assert run.plan().trainings() == {}


def test_a_stop_passes_through_and_what_is_done_stays(run: Run) -> None:
    run.stop = True
    with pytest.raises(Interrupted):
        run(run.plan())
    assert not list(run.store.records())
    assert len(run.announced) == 1, "nothing else was begun"
    assert all(run.store.failure(path.name) is None for path in (run.store.root / "trainings").iterdir())


def test_failures_are_noted_and_forgotten(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MissingFault("A file is missing.", next="find it")

    plan = run.plan(row="plain")
    with monkeypatch.context() as patch:
        patch.setattr(module, "train_stage", broken)
        outcome = run(plan)
    assert [failure.error.faults for failure in outcome.failed] == [("A file is missing.",)]
    (training,) = plan.trainings()
    assert run.store.failure(training) == "A file is missing."
    assert run(run.plan(row="plain")).failed == []
    assert run.store.failure(training) is None


def test_a_full_disk_that_cannot_hold_the_note_either(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RunFault("The disk is full.")

    monkeypatch.setattr(module, "train_stage", full)
    monkeypatch.setattr(Store, "note_failure", full)
    assert [failure.error.faults for failure in run(run.plan(row="plain")).failed] == [("The disk is full.",)]


def test_nothing_starts_where_nothing_can_be_written(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = Run(catalog, tmp_path / "file" / "results")
    with pytest.raises(RunFault):
        run(run.plan())
    assert run.announced == []


def test_the_checkpoint_that_the_protocol_names_is_scored(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = []
    score = module.score

    def watched(path: Path, *words: object) -> object:
        scored.append(path.name)
        return score(path, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "score", watched)
    settings = (*TINY.settings, ("evaluation.checkpoint", "best"))
    run(make_plan(run.catalog, "twins", run.store, row="plain", request=TINY))
    run(make_plan(run.catalog, "twins", run.store, row="plain", request=Request("smoke", settings=settings)))
    assert scored == [train.LAST, train.BEST]
    assert len({record.training for record in run.store.records()}) == 1, "another checkpoint never retrains"
