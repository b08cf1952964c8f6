"""Jobs in child processes: the same records, a death that costs one job, and a stop that saves all."""

import multiprocessing
import re
from pathlib import Path

import pytest

from segbench.core.errors import Interrupted
from segbench.core.progress import Progress
from segbench.core.spec import TrainingSpec
from segbench.recipe.resolve import Request
from segbench.reproduce.job import TrainingJob
from segbench.reproduce.launch import InProcess, local
from segbench.reproduce.launch.processes import Processes, startable
from segbench.results.record import Record
from tests.reproduce.test_execute import TINY, Run, Watching
from tests.reproduce.test_execute import catalog as catalog
from tests.reproduce.test_execute import run as run

LONG = Request("smoke", settings=(*TINY.settings, ("schedule.steps", 400), ("schedule.validate_every", 10)))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


class Listening(Watching):
    """Observer that remembers notes, and does something at the first report."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.jobs: set[str] = set()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def report(self, progress: Progress) -> None:
        self.jobs.add(progress.job)


def figures(record: Record) -> dict[str, float | None]:
    return {name: value for name, value in record.figures.items() if name != "sec_per_iter"}


class Killing(Listening):
    """Observer that kills the child that reports first."""

    def report(self, progress: Progress) -> None:
        if not self.jobs:
            (child,) = (each for each in multiprocessing.active_children() if each.name.endswith(progress.job))
            child.kill()
        super().report(progress)


def test_a_child_that_dies_is_a_failure_and_the_others_leave_the_records_of_this_process(
    run: Run, tmp_path: Path
) -> None:
    observer = Killing()
    run.observer = observer
    execution = run(run.plan(), Processes(2))
    assert [words[1:] for words in observer.announced] == [(1, 2), (2, 2)]
    assert observer.jobs == {"plain · camvid · seed 0", "other · camvid · seed 0"}
    (failure,) = execution.failed
    (result,) = execution.done
    assert isinstance(failure.job, TrainingJob) and isinstance(result.job, TrainingJob)
    assert "was killed by signal 9" in failure.error.faults[0]
    assert run.store.failure(failure.job.id) == failure.error.faults[0]
    assert run.store.failure(result.job.id) is None
    assert f"{result.job.title}: step 4: validation mIoU" in " ".join(observer.notes)
    here = Run(run.catalog, tmp_path / "here")
    here(here.plan(row=result.job.rows[0]), InProcess())
    ours, theirs = ({each.id: figures(each) for each in records} for records in (here.store.records(), result.records))
    assert ours.items() <= theirs.items() and ours
    assert {record.id for record in run.store.records()} == set(theirs)
    again = run(run.plan(row=failure.job.rows[0]))
    assert again.failed == [] and run.store.failure(failure.job.id) is None


class Stopping(Listening):
    """Observer that asks to stop once every child has reported."""

    def stop_requested(self) -> bool:
        return len(self.jobs) == 2


def test_a_stop_saves_every_child(run: Run) -> None:
    run.observer = Stopping()
    with pytest.raises(Interrupted) as stopped:
        run(run.plan(request=LONG), Processes(2))
    steps = {}
    for fault in stopped.value.faults:
        found = re.fullmatch(r"(\w+) · camvid · seed 0: Saved at step (\d+)(, before its validation)?\.", fault)
        assert found, fault
        steps[found[1]] = int(found[2])
    assert set(steps) == {"plain", "other"} and all(0 < step < 400 for step in steps.values())
    assert "the same command" in stopped.value.next
    assert not list(run.store.records())
    assert len(list(run.store.root.glob("trainings/*/state.pt"))) == 2
    assert not multiprocessing.active_children()


def test_trainings_that_share_a_stage_take_turns(run: Run) -> None:
    first, other = (job for job in run.plan().jobs() if isinstance(job, TrainingJob))
    second = TrainingSpec(stages=(*first.training.stages, first.training.stages[0].model_copy(update={"name": "b"})))
    longer = TrainingJob(("longer",), "camvid", second, first.evaluations, "")
    assert startable([longer, other], [first]) == other
    assert startable([longer], [first]) is None
    assert startable([longer], [other]) == longer


def test_one_job_at_a_time_needs_no_child() -> None:
    assert isinstance(local(1), InProcess)
    several = local(3)
    assert isinstance(several, Processes) and several.count == 3
