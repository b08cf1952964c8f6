"""Jobs: frozen, picklable, self-contained units of work, for this process, a child or another machine.

A job holds everything that its records say beside what was measured. It refers to no recipe, holds no function and no
open file.
"""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segbench.checkpoints.conventions import Convention
from segbench.core.spec import CostSpec, EvaluationSpec, TrainingSpec
from segbench.metrics.scores import Absent
from segbench.results.record import Record


def command_line() -> str:
    """Return the command line of this process, as records keep it."""
    return shlex.join(["segbench", *sys.argv[1:]])


@dataclass(frozen=True)
class EvaluationTask:
    """One evaluation of a job's network.

    Attributes:
        id: of the evaluation and its record.
        spec: protocol; its data names the data set.
        deviations: from the published protocol, as plain data.
        budget: name of the budget.
    """

    id: str
    spec: EvaluationSpec
    deviations: tuple[dict[str, Any], ...] = ()
    budget: str = "full"


@dataclass(frozen=True)
class TrainingJob:
    """Train all stages with one seed, then run the evaluations.

    Attributes:
        rows: names of the rows that the training serves, for display.
        dataset: name of the data set that is trained on, for display.
        training: stages and seed.
        evaluations: at least one.
        command: command line for the records.
    """

    rows: tuple[str, ...]
    dataset: str
    training: TrainingSpec
    evaluations: tuple[EvaluationTask, ...]
    command: str

    @property
    def id(self) -> str:
        """Id of the training."""
        return self.training.id()

    @property
    def title(self) -> str:
        return f"{self.rows[0]} · {self.dataset} · seed {self.training.seed}"

    @property
    def label(self) -> str:
        """Short name in lists of failures."""
        return f"{self.rows[0]} on {self.dataset}"

    def stage_ids(self) -> list[str]:
        """Return the id of each stage together with those before it; trainings that share one share its folder."""
        return [self.training.prefix_id(number) for number in range(1, len(self.training.stages) + 1)]


@dataclass(frozen=True)
class CheckpointReference:
    """A file of weights and how to open it.

    Attributes:
        path: file; its content is held to the ids of the evaluations when the job runs.
        family: project that published it; None to detect.
        code: ``module:function`` that builds the user's own network; None for a known architecture.
        num_classes: outputs of the user's own network.
        averaged: use the moving average of the weights.
        allow_partial: initialise at random what the file lacks.
        about: provenance for the records, as plain data.
    """

    path: Path
    family: str | None = None
    code: str | None = None
    num_classes: int = 0
    averaged: bool = False
    allow_partial: bool = False
    about: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class CheckpointTask(EvaluationTask):
    """One evaluation of a checkpoint.

    Attributes:
        convention: input and corners in force, every field set.
        other_absent: more rules for absent classes, recorded from the same counts where they change the mIoU.
    """

    convention: Convention = field(default_factory=Convention)
    other_absent: tuple[Absent, ...] = ()


@dataclass(frozen=True)
class CheckpointJob:
    """Score a file of weights by protocols of the same data, in one pass over the images.

    Attributes:
        title: for display.
        checkpoint: the file.
        evaluations: at least one.
        advice: command that may help if memory does not suffice.
        count_cost: record parameters and multiply-adds too.
        command: command line for the records.
    """

    title: str
    checkpoint: CheckpointReference
    evaluations: tuple[CheckpointTask, ...]
    advice: str
    count_cost: bool
    command: str

    @property
    def id(self) -> str:
        return self.evaluations[0].id

    @property
    def label(self) -> str:
        return self.title


@dataclass(frozen=True)
class PredictionsJob:
    """Score a folder of label PNGs.

    Attributes:
        folder: label files, one per image.
        spec: protocol; its data names data set, split and classes.
        encoding: ``train-ids`` or ``label-ids``; None to tell from the values.
        command: command line for the record.
    """

    folder: Path
    spec: EvaluationSpec
    encoding: str | None
    command: str

    @property
    def id(self) -> str:
        return str(self.folder)

    @property
    def title(self) -> str:
        return f"{self.folder.name} · {self.spec.data.name} {self.spec.data.splits[0]}"

    @property
    def label(self) -> str:
        return self.title


@dataclass(frozen=True)
class CountJob:
    """Count the parameters and multiply-adds of a training's last stage; nothing is trained.

    Attributes:
        id: of the count and its record.
        row: name of the row, for display.
        dataset: name of the data set of the row.
        training: its last stage is counted.
        cost: input size, classes and rule.
        deviations: from the published protocol, as plain data.
        budget: name of the budget.
    """

    id: str
    row: str
    dataset: str
    training: TrainingSpec
    cost: CostSpec
    deviations: tuple[dict[str, Any], ...]
    budget: str

    @property
    def title(self) -> str:
        return f"{self.row} · {self.dataset} · count"

    @property
    def label(self) -> str:
        return f"{self.row} on {self.dataset}"


@dataclass(frozen=True)
class AnswerJob:
    """Complete the record of exported predictions with the answer of a test server.

    Attributes:
        pending: record of the export, without figures.
    """

    pending: Record

    @property
    def id(self) -> str:
        return self.pending.id


Job = TrainingJob | CheckpointJob | PredictionsJob | CountJob
