"""Outcomes of jobs: what was measured, and what a launcher hands back."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from segbench.checkpoints.loaded_model import LoadedModel
from segbench.core.errors import SegbenchError
from segbench.engine.evaluate import Evaluation
from segbench.engine.folder import Summary
from segbench.engine.runtime import Runtime
from segbench.metrics.cost import Cost
from segbench.results.record import Record

from .cost import Costed
from .job import EvaluationTask, Job


@dataclass(frozen=True)
class TrainingScore:
    """One evaluation of a training.

    Attributes:
        task: the evaluation.
        evaluation: counts.
        model: the network.
        runtime: device and precision.
        summary: of the last stage.
        labelled: chosen labelled images of every stage, where not all were used.
    """

    task: EvaluationTask
    evaluation: Evaluation
    model: LoadedModel
    runtime: Runtime
    summary: Summary
    labelled: list[dict[str, Any]]


@dataclass(frozen=True)
class CheckpointScore:
    """One evaluation of a checkpoint.

    Attributes:
        task: the evaluation.
        evaluation: counts.
        model: the network under the conventions in force.
        runtime: device and precision.
        cost: of a forward pass; None if not counted.
    """

    task: EvaluationTask
    evaluation: Evaluation
    model: LoadedModel
    runtime: Runtime
    cost: Costed | None


@dataclass(frozen=True)
class PredictionsScore:
    """Score of a folder of label files.

    Attributes:
        evaluation: counts.
        sha256: of the list of label files: their images, pixels and encoding.
        encoding: meaning of the values.
        extra: number of files that belong to no image.
    """

    evaluation: Evaluation
    sha256: str
    encoding: str
    extra: int


@dataclass(frozen=True)
class Export:
    """Predictions packed for a test server; there are no figures yet.

    Attributes:
        task: the evaluation that the server is asked for.
        model: the network.
        runtime: device and precision.
        archive: name of the file.
        sha256: of the file.
        images: number of predictions.
    """

    task: EvaluationTask
    model: LoadedModel
    runtime: Runtime
    archive: str
    sha256: str
    images: int


@dataclass(frozen=True)
class ServerAnswer:
    """Scores that a test server answered with.

    Attributes:
        figures: metric to value in percent.
        server: title of the server.
        day: of the answer.
        link: address of the public result, or empty.
        entered: time of entering, ISO 8601.
        earlier: record with the answer that was entered before; None if this is the first.
    """

    figures: dict[str, float]
    server: str
    day: date
    link: str
    entered: str
    earlier: Record | None = None


Outcome = TrainingScore | CheckpointScore | PredictionsScore | Export | ServerAnswer | Cost


@dataclass(frozen=True)
class JobResult:
    """A finished job; its records are in the store.

    Attributes:
        job: the job.
        records: one per evaluation.
    """

    job: Job
    records: tuple[Record, ...]


@dataclass(frozen=True)
class JobFailure:
    """A job that did not finish.

    Attributes:
        job: the job.
        error: reason, with a way out.
    """

    job: Job
    error: SegbenchError
