"""Training of all stages of a job."""

from pathlib import Path

from segbench.core import atomic
from segbench.core.errors import InvalidFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import EvaluationSpec, TrainingSpec
from segbench.data.open import open_dataset
from segbench.engine.folder import BEST, LAST, PSEUDO_LABELS, REFRESHED, Summary, read_summary
from segbench.engine.inputs import StageInputs
from segbench.engine.labelled import labelled
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
    labels: Path | None = None
    for number, stage in enumerate(training.stages, 1):
        prefix = training.prefix_id(number)
        folder = folders.store.training_folder(prefix)
        if read_summary(folder) is None:
            require_verified(needed_splits([stage]), folders)
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
                pseudo_labels=labels,
                networks=dict(weights),
            ),
            cache="make" if folders.use_cache else "off",
            observer=observer,
        )
        weights[stage.name] = folder / LAST
        labels = folder / PSEUDO_LABELS if stage.emits == "pseudo_labels" else labels
        found.append((folder, summary))
    return found[-1]


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
