"""The only builder of records: of trainings, checkpoints, label files, counts, exports and servers' answers."""

from datetime import UTC, datetime
from typing import Any

import torch

from segbench.core.provenance import segbench_version
from segbench.core.spec import EvaluationSpec, TrainingSpec, evaluation_id
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.engine.evaluate import Evaluation
from segbench.engine.runtime import Runtime
from segbench.metrics.cost import Cost
from segbench.results.record import Record

from .conventions import checkpoint_spec
from .job import AnswerJob, CheckpointJob, CountJob, EvaluationTask, Job, PredictionsJob, TrainingJob
from .outcome import CheckpointScore, Export, Outcome, PredictionsScore, ServerAnswer, TrainingScore

Fields = dict[str, Any]


def now() -> str:
    """Return the time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record_of(job: Job | AnswerJob, outcome: Outcome) -> Record:
    """Build the record of one outcome of a job.

    Raises:
        TypeError: the job has no such outcome.
    """
    match job, outcome:
        case TrainingJob(), TrainingScore():
            fields = _of_training(job) | _of_task(outcome.task) | _training_score(job, outcome)
        case TrainingJob(), Export():
            fields = _of_training(job) | _of_task(outcome.task) | _export(job.command, outcome, {})
        case CheckpointJob(), CheckpointScore():
            fields = _of_checkpoint(outcome) | _of_task(outcome.task) | _checkpoint_score(job, outcome)
        case CheckpointJob(), Export():
            file = {"file": job.checkpoint.path.name}
            fields = _of_checkpoint(outcome) | _of_task(outcome.task) | _export(job.command, outcome, file)
        case PredictionsJob(), PredictionsScore():
            fields = _predictions(job, outcome)
        case CountJob(), Cost():
            fields = _count(job, outcome)
        case AnswerJob(), ServerAnswer():
            fields = job.pending.model_dump(by_alias=True) | _answer(job.pending, outcome)
        case _:
            raise TypeError(f"{type(job).__name__} has no outcome {type(outcome).__name__}")
    return Record.model_validate(fields)


def _of_training(job: TrainingJob) -> Fields:
    return {
        "kind": "training",
        "training": job.id,
        "family": job.training.family(),
        "seed": job.training.seed,
        "training_spec": job.training.canonical(),
    }


def _of_checkpoint(outcome: CheckpointScore | Export) -> Fields:
    model = outcome.model
    return {
        "kind": "checkpoint",
        "training": model.sha256,
        "family": model.sha256,
        "training_spec": checkpoint_spec(model),
    }


def _of_task(task: EvaluationTask) -> Fields:
    return {"id": task.id, "budget": task.budget, "deviations": list(task.deviations)} | _of_protocol(task.spec)


def _of_protocol(spec: EvaluationSpec) -> Fields:
    return {"dataset": spec.data.name, "split": spec.data.splits[0], "evaluation_spec": spec.canonical()}


def _scores(evaluation: Evaluation, spec: EvaluationSpec, *, identity: str, classes: tuple[str, ...]) -> Fields:
    return {
        "figures": evaluation.figures(absent=spec.absent),
        "per_class": dict(zip(classes, evaluation.per_class(), strict=True)),
        "benchmark": evaluation.benchmark_scores(),
        "images": len(evaluation.keys),
        "counts": f"{identity}.npz",
    }


def _training_score(job: TrainingJob, outcome: TrainingScore) -> Fields:
    evaluation, summary, model = outcome.evaluation, outcome.summary, outcome.model
    fields = _scores(evaluation, outcome.task.spec, identity=outcome.task.id, classes=model.classes)
    fields["figures"]["params_m"] = model.parameters
    if summary.seconds_per_iteration is not None:
        fields["figures"]["sec_per_iter"] = summary.seconds_per_iteration
    features = {"features": evaluation.features.about(model.classes)} if evaluation.features else {}
    about = {"weights": summary.weights, **_micro_batches(job.training), **features}
    return fields | {
        "validation": {"best": summary.best, "last": summary.last, "curve": summary.curve},
        "labelled": outcome.labelled,
        "timings": {
            "training_seconds": summary.seconds,
            "seconds_per_step": summary.seconds_per_step,
            "seconds_per_image": evaluation.seconds_per_image,
            "peak_memory_bytes": summary.peak_memory_bytes,
        },
        "provenance": {**_machine(outcome.runtime, job.command), **about},
    }


def _micro_batches(training: TrainingSpec) -> Fields:
    """Images of a forward pass by stage, where gradients are accumulated."""
    found = {stage.name: stage.images_at_once for stage in training.stages if stage.micro_batches > 1}
    return {"micro_batch": found} if found else {}


def _checkpoint_score(job: CheckpointJob, outcome: CheckpointScore) -> Fields:
    evaluation, spec, model = outcome.evaluation, outcome.task.spec, outcome.model
    # Another project's own names were compared with those of the data set before; these are the ones recorded.
    classes = model.classes if model.header is not None else _class_names(spec)
    fields = _scores(evaluation, spec, identity=outcome.task.id, classes=classes)
    fields["figures"]["params_m"] = model.parameters
    about: Fields = {"file": job.checkpoint.path.name, **dict(job.checkpoint.about)}
    if outcome.cost is not None:
        fields["figures"]["flops_g"] = outcome.cost.cost.multiply_adds / 1e9
        about["cost"] = outcome.cost.about
    timings = {"seconds_per_image": evaluation.seconds_per_image, "peak_memory_bytes": evaluation.memory_bytes}
    return fields | {"timings": timings, "provenance": {**_machine(outcome.runtime, job.command), **about}}


def _predictions(job: PredictionsJob, outcome: PredictionsScore) -> Fields:
    identity = evaluation_id(outcome.sha256, job.spec)
    about = {"folder": job.folder.name, "encoding": outcome.encoding, "extra": outcome.extra}
    return {
        "id": identity,
        "kind": "predictions",
        "training": outcome.sha256,
        "family": outcome.sha256,
        **_of_protocol(job.spec),
        **_scores(outcome.evaluation, job.spec, identity=identity, classes=_class_names(job.spec)),
        "provenance": {**segbench_version(), **_made(job.command), **about},
    }


def _count(job: CountJob, cost: Cost) -> Fields:
    return {
        "id": job.id,
        "kind": "cost",
        "training": "",
        "family": job.id,
        "budget": job.budget,
        "dataset": job.dataset,
        "split": "train",
        "training_spec": job.training.canonical(),
        "evaluation_spec": job.cost.canonical(),
        "figures": {
            "params_m": cost.parameters / 1e6,
            "flops_g": cost.multiply_adds / 1e9,
            "usual_flops_g": cost.flops / 1e9,
        },
        "deviations": list(job.deviations),
        "provenance": {**segbench_version(), "torch": torch.__version__, "rule": cost.rule},
    }


def _export(command: str, outcome: Export, about: Fields) -> Fields:
    archive = {"archive": outcome.archive, "archive_sha256": outcome.sha256}
    return {
        "figures": {},
        "images": outcome.images,
        "provenance": {**_machine(outcome.runtime, command), **about, **archive},
    }


def _answer(pending: Record, answer: ServerAnswer) -> Fields:
    about: Fields = {"by": answer.server, "day": answer.day.isoformat(), "link": answer.link}
    if (earlier := answer.earlier) is not None:  # every answer stays: nobody can quietly enter until it fits
        before = earlier.provenance.get("scored", {})
        about["earlier"] = [*before.get("earlier", []), {"figures": dict(earlier.figures), "day": before.get("day")}]
    scored = {**about, "entered": answer.entered}
    return {"figures": dict(answer.figures), "provenance": {**pending.provenance, "scored": scored}}


def _machine(runtime: Runtime, command: str) -> Fields:
    return {**segbench_version(), **runtime.describe(), **_made(command)}


def _made(command: str) -> Fields:
    return {"finished": now(), "command": command}


def _class_names(spec: EvaluationSpec) -> tuple[str, ...]:
    return class_table(spec.data.classes or facts(spec.data.name).table).names
