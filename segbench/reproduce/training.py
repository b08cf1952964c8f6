"""Training of all stages of a job."""

from collections.abc import Mapping
from pathlib import Path

from segbench.core import atomic
from segbench.core.errors import InvalidFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import EvaluationSpec, StageSpec, TrainingSpec
from segbench.data.open import open_dataset
from segbench.engine.folder import BEST, LAST, REFRESHED, Summary, read_summary
from segbench.engine.inputs import StageInputs
from segbench.engine.labelled import labelled
from segbench.engine.labelling import make_label_set
from segbench.engine.runtime import Runtime
from segbench.engine.stage import run_stage

from .folders import Folders
from .job import TrainingJob
from .scoring import needed_splits, require_labels, require_verified


def train(
    training: TrainingSpec, folders: Folders, runtime: Runtime, *, observer: Observer = SILENT
) -> tuple[Path, Summary]:
    """Train every stage, each in the folder that all trainings with the same first stages share.

    Returns:
        Folder and summary of the last stage.

    Raises:
        MissingFault, InvalidFault, RunFault, Interrupted: as of ``run_stage``.
    """
    found: list[tuple[Path, Summary]] = []
    weights: dict[str, Path] = {}
    folders_of: dict[str, tuple[Path, str]] = {}  # of each stage, with the id of the stages up to it
    for number, stage in enumerate(training.stages, 1):
        prefix = training.prefix_id(number)
        folder = folders.store.training_folder(prefix)
        labels: dict[str, Path] = {}
        if read_summary(folder) is None:
            require_verified(needed_splits([stage]), folders)
            labels = _label_sets(stage, folders_of, training.seed, folders, runtime, observer)
        atomic.write_json(folder / "training.json", training.canonical())
        summary = run_stage(
            stage,
            folder,
            training=prefix,
            seed=training.seed,
            runtime=runtime,
            data_root=folders.data,
            inputs=StageInputs(
                weights=weights[stage.starts_from] if stage.starts_from else None,
                labels=labels,
                networks=dict(weights),
            ),
            cache="make" if folders.use_cache else "off",
            observer=observer,
        )
        weights[stage.name] = folder / LAST
        folders_of[stage.name] = folder, prefix
        found.append((folder, summary))
    return found[-1]


def _label_sets(
    stage: StageSpec,
    stages: Mapping[str, tuple[Path, str]],
    seed: int,
    folders: Folders,
    runtime: Runtime,
    observer: Observer,
) -> dict[str, Path]:
    """Let earlier stages label the images of a stage that takes their labels; return the label sets by stream."""
    found = {}
    for name, stream in stage.streams.items():
        if stream.data.labels_from is None:
            continue
        folder, training = stages[stream.data.labels_from]
        found[name] = make_label_set(
            folder / LAST,
            stream.data,
            stage=stream.data.labels_from,
            training=training,
            seed=seed,
            runtime=runtime,
            data_root=folders.data,
            cache="make" if folders.use_cache else "off",
            observer=observer,
        )
    return found


def require_scorable(job: TrainingJob, folders: Folders) -> None:
    """Check before a training what would only fail after it.

    Raises:
        UsageFault: the labels of a split are not public.
        MissingFault: a split is missing.
        InvalidFault: the best checkpoint is asked for, but nothing validates.
    """
    for task in job.evaluations:
        require_labels(task.spec)
        open_dataset(task.spec.data, root=folders.data, cache="off")
        if task.spec.checkpoint == "best" and job.training.stages[-1].schedule.validate_every is None:
            raise InvalidFault(
                "The best checkpoint is to be scored, but nothing validates this training.",
                next="the same command with --set schedule.validate_every=N",
            )


def weights_to_score(folder: Path, spec: EvaluationSpec) -> Path:
    """Return the weights in a stage's folder that a protocol names: the last or the best ones.

    Best weights that were still better after the method refreshed them are the refreshed ones.
    """
    if spec.checkpoint == "last":
        return folder / LAST
    return folder / (REFRESHED if (folder / REFRESHED).is_file() else BEST)


def labelled_images(training: TrainingSpec, folders: Folders) -> list[dict[str, object]]:
    """Return the labelled images of every stage, where not all of them were used."""
    found: list[dict[str, object]] = []
    for number, stage in enumerate(training.stages, 1):
        found += labelled(folders.store.training_folder(training.prefix_id(number)), stage.name)
    return found
