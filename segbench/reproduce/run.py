"""Running of jobs: the same in this process, in a child process and on another machine."""

import contextlib
import traceback
from dataclasses import replace
from pathlib import Path

import torch

from segbench.checkpoints.conventions import Convention
from segbench.checkpoints.loaded_model import LoadedModel, adjusted, open_weights
from segbench.core import atomic
from segbench.core.errors import Busy, Interrupted, InvalidFault, RunFault, SegbenchError, first_line
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import evaluation_id
from segbench.engine.evaluate import Evaluation
from segbench.engine.runtime import Runtime
from segbench.methods.step import World
from segbench.metrics.scores import ABSENT_RULES, miou
from segbench.results.record import Record

from .cost import cost_of, count_training
from .folders import Folders
from .job import CheckpointJob, CheckpointTask, CountJob, Job, PredictionsJob, TrainingJob
from .opening import open_reference
from .outcome import CheckpointScore, JobFailure, JobResult, Outcome, TrainingScore
from .predictions import score_predictions
from .records import record_of
from .scoring import score_all
from .training import labelled_images, require_scorable, train, weights_to_score

ALONE = World()
_LESS_MEMORY = "the same command with --set evaluation.mode=slide --set evaluation.window=[512,1024]"


def run_job(
    job: Job,
    folders: Folders,
    runtime: Runtime,
    world: World = ALONE,
    *,
    observer: Observer = SILENT,
    model: LoadedModel | None = None,
) -> JobResult:
    """Do what a job says; every record is in the store as soon as it is known.

    Args:
        job: training, checkpoint, label files or count.
        folders: results and data.
        runtime: device and precision.
        world: this process among those that share the job.
        observer: receives progress, and is polled for a stop request; of this process alone.
        model: network of a ``CheckpointJob``, if this process has opened it already.

    Raises:
        UsageFault, MissingFault, InvalidFault, RunFault: it cannot be done here; training can be resumed.
        Interrupted: a stop was requested; what was done is kept.
        ValueError: more than one process; a job cannot be shared yet.
    """
    if world.size > 1:
        raise ValueError(f"a job runs in one process, not in {world.size}")
    match job:
        case TrainingJob():
            records = _train(job, folders, runtime, observer)
        case CheckpointJob():
            records = _score_checkpoint(job, folders, runtime, observer, model)
        case PredictionsJob():
            score = score_predictions(job, folders, observer=observer)
            records = [_keep(job, score, folders, score.evaluation)]
        case CountJob():
            records = [_keep(job, count_training(job.training, job.cost), folders)]
    return JobResult(job, tuple(records))


def attempt(
    job: Job, folders: Folders, runtime: Runtime, world: World = ALONE, *, observer: Observer = SILENT
) -> JobResult | JobFailure:
    """Run a job; a failure is noted in the store and returned, so that the others go on.

    Raises:
        Interrupted: a stop was requested.
    """
    try:
        result = run_job(job, folders, runtime, world, observer=observer)
    except Interrupted:
        raise
    except Busy as error:  # the process that has it records it, or why it failed
        return JobFailure(job, error)
    except SegbenchError as error:
        return failed(job, error, folders)
    except Exception as error:  # a bug or an exhausted machine in one training must not cost the others
        if not isinstance(job, TrainingJob):
            raise
        return failed(job, _unforeseen(error, folders.store.training_folder(job.id)), folders)
    if isinstance(job, TrainingJob):
        folders.store.clear_failure(job.id)
    return result


def failed(job: Job, error: SegbenchError, folders: Folders) -> JobFailure:
    """Note the failure of a training in the store, and return it."""
    if isinstance(job, TrainingJob):
        with contextlib.suppress(RunFault):  # a full disk cannot hold the note either; the fault itself is shown
            folders.store.note_failure(job.id, " ".join(error.faults))
    return JobFailure(job, error)


def _train(job: TrainingJob, folders: Folders, runtime: Runtime, observer: Observer) -> list[Record]:
    require_scorable(job, folders)
    folder, summary = train(job.training, folders, runtime, observer=observer)
    records = []
    for task in job.evaluations:
        model = open_weights(weights_to_score(folder, task.spec))
        (evaluation,) = score_all([(model, task.spec)], folders, runtime, advice=_LESS_MEMORY, observer=observer)
        labelled = labelled_images(job.training, folders)
        score = TrainingScore(task, evaluation, model, runtime, summary, labelled)
        records.append(_keep(job, score, folders, evaluation))
    return records


def _score_checkpoint(
    job: CheckpointJob, folders: Folders, runtime: Runtime, observer: Observer, model: LoadedModel | None
) -> list[Record]:
    own = open_reference(job.checkpoint) if model is None else model
    aligned = {align: adjusted(own, Convention(align_corners=align)) for align in (False, True)}
    models = [_under(aligned[task.convention.align_corners is True], task) for task in job.evaluations]
    trials = [(each, task.spec) for each, task in zip(models, job.evaluations, strict=True)]
    evaluations = score_all(trials, folders, runtime, advice=job.advice, observer=observer)
    records = []
    for task, each, evaluation in zip(job.evaluations, models, evaluations, strict=True):
        cost = cost_of(each, task.spec, evaluation.image_size) if job.count_cost else None
        scores = [CheckpointScore(rule, evaluation, each, runtime, cost) for rule in _rules(task, evaluation, each)]
        records += [_keep(job, score, folders, evaluation) for score in scores]
    return records


def _under(model: LoadedModel, task: CheckpointTask) -> LoadedModel:
    """Return the network under a task's conventions.

    Raises:
        InvalidFault: the file is another one than when the job was made.
    """
    changed = adjusted(model, task.convention)
    if evaluation_id(changed.identity, task.spec) != task.id:
        raise InvalidFault(f"{model.path} has changed since its evaluation was planned.", next="the same command again")
    return changed


def _rules(task: CheckpointTask, evaluation: Evaluation, model: LoadedModel) -> list[CheckpointTask]:
    """Return the task, and one for every other rule for absent classes that gives another mIoU."""
    total = evaluation.tally.total()
    values = {rule: float(miou(total, absent=rule)) for rule in ABSENT_RULES}
    own = task.spec.absent
    found = []
    for rule, value in values.items():
        if rule == own or (rule in task.other_absent and value != values[own]):
            spec = task.spec.model_copy(update={"absent": rule})
            found.append(replace(task, id=evaluation_id(model.identity, spec), spec=spec))
    return found


def _keep(job: Job, outcome: Outcome, folders: Folders, evaluation: Evaluation | None = None) -> Record:
    record = record_of(job, outcome)
    if record.kind == "checkpoint":
        record = _standing_for(record, folders)
    folders.store.write(record, None if evaluation is None else evaluation.counts())
    return record


def _standing_for(record: Record, folders: Folders) -> Record:
    """Return a record of a checkpoint with the rows that an earlier one of the same evaluation stood for."""
    earlier = folders.store.find(record.id)
    rows = [] if earlier is None else list(earlier.provenance.get("stands_for", ()))
    rows += [row for row in record.provenance.get("stands_for", ()) if row not in rows]
    return record.model_copy(update={"provenance": {**record.provenance, "stands_for": rows}}) if rows else record


def _unforeseen(error: Exception, folder: Path) -> SegbenchError:
    if isinstance(error, torch.OutOfMemoryError):
        return RunFault(
            "The device ran out of memory.",
            next="the same command with --checkpoint-activations, and then --micro-batch N (recorded as a deviation)",
        )
    said = first_line(error, named=True)
    path = folder / "traceback.txt"
    try:
        atomic.write_text(path, traceback.format_exc())
    except RunFault:
        return RunFault(said, next="the same command again")
    return RunFault(f"{said} (the traceback is in {path})", next=f"cat {path}")
