"""Jobs: self-contained, picklable, and the same wherever they run."""

import pickle
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from segbench.core.errors import InvalidFault
from segbench.engine.runtime import Runtime
from segbench.methods.step import World
from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request
from segbench.reproduce.evaluate.checkpoint import recognise_checkpoint
from segbench.reproduce.evaluate.request import EvalRequest
from segbench.reproduce.folders import Folders
from segbench.reproduce.job import AnswerJob, Job, TrainingJob
from segbench.reproduce.launch import DebugLauncher
from segbench.reproduce.outcome import JobResult
from segbench.reproduce.plan import make_plan
from segbench.reproduce.records import record_of
from segbench.reproduce.run import run_job
from segbench.results.record import Record
from tests.networks import varied_weights
from tests.reproduce.test_execute import TINY, Run, Watching
from tests.reproduce.test_execute import catalog as catalog
from tests.reproduce.test_execute import run as run


def timeless(record: Record) -> dict[str, object]:
    data = record.model_dump(exclude={"timings"})
    data["figures"].pop("sec_per_iter", None)
    data["provenance"].pop("finished", None)
    return data


def test_a_job_gives_the_same_records_here_and_through_pickle(run: Run, tmp_path: Path) -> None:
    launcher = DebugLauncher()
    run(run.plan(row="scored-otherwise"), launcher)
    (here,) = run.store.records()
    (job,) = launcher.jobs
    elsewhere = Folders(tmp_path / "elsewhere", tmp_path / "data")
    result = run_job(job, elsewhere, Runtime(workers=0), World())
    assert [timeless(record) for record in result.records] == [timeless(here)]
    assert elsewhere.store.find(here.id) == result.records[0]
    assert elsewhere.store.counts(here) is not None
    assert pickle.loads(pickle.dumps(result)) == result, "results come back from a child"


def test_a_job_carries_neither_recipe_nor_catalog(tmp_path: Path) -> None:
    folders = Folders(tmp_path, tmp_path)
    sizes = {}
    for table, request in (("contextrast-table6", TINY), ("contextrast-table7", Request())):
        plan = make_plan(default_catalog(), table, folders, request=request)
        for job in plan.jobs():
            assert pickle.loads(pickle.dumps(job)) == job
            sizes[job.id] = len(pickle.dumps(job))
            assert b"segbench.recipe" not in pickle.dumps(job)
    assert len(sizes) == 10 and max(sizes.values()) < 30_000


def test_deviations_and_budget_come_along_as_plain_data(run: Run) -> None:
    job = next(job for job in run.plan(row="plain").jobs() if isinstance(job, TrainingJob))
    (task,) = job.evaluations
    assert task.budget == "smoke"
    assert "steps 4 of 6,000" in [each["says"] for each in task.deviations]
    assert all(type(each) is dict for each in task.deviations)


def test_a_checkpoint_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = varied_weights(tmp_path / "weights.safetensors", "camvid")
    folders = Folders(tmp_path / "results", tmp_path / "data")
    opened = recognise_checkpoint(EvalRequest(str(path)))
    generated = opened.data.model_copy(update={"source": "generated", "images": 2, "scale": 0.1})
    spec = opened.spec.model_copy(update={"data": generated})
    job: Job = opened.job([opened.task(opened.model, spec)])
    sent = pickle.loads(pickle.dumps(job))
    anew = run_job(sent, folders, Runtime())
    opened_before = run_job(job, folders, Runtime(), model=opened.model)
    assert [timeless(record) for record in anew.records] == [timeless(record) for record in opened_before.records]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path, metadata)
    with pytest.raises(InvalidFault, match="has changed since"):
        run_job(sent, folders, Runtime())


def test_several_processes_cannot_share_a_job_yet(run: Run) -> None:
    (job,) = run.plan(row="plain").jobs()
    with pytest.raises(ValueError, match="one process"):
        run_job(job, run.folders, Runtime(), World(rank=1, size=2))


def test_a_job_has_outcomes_of_its_own_kind_alone(run: Run) -> None:
    (job,) = run.plan(row="plain").jobs()
    pending = Record(id="i", kind="checkpoint", training="t", family="f", dataset="camvid", split="test", figures={})
    result = run_job(make_plan(default_catalog(), "contextrast-table7", run.folders, row="baseline", request=Request()
                               ).jobs()[0], run.folders, Runtime())  # fmt: skip
    assert isinstance(result, JobResult) and result.records[0].kind == "cost"
    for wrong in (job, AnswerJob(pending)):
        with pytest.raises(TypeError, match="has no outcome"):
            record_of(wrong, object())  # type: ignore[arg-type]


def test_counts_are_not_announced(tmp_path: Path) -> None:
    run = Run(default_catalog(), tmp_path)
    run.observer = Watching()
    plan = make_plan(run.catalog, "contextrast-table7", run.folders, request=Request())
    execution = run(plan)
    assert [result.job.label for result in execution.done] == ["baseline on unstated", "contextrast on unstated"]
    assert run.observer.announced == []
