"""Label files that any program wrote, matched with the images of a split."""

from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import MissingFault, UsageFault
from segbench.core.spec import DataSpec, EvaluationSpec
from segbench.data import predictions
from segbench.data.classes import class_table
from segbench.data.facts import facts, require_split
from segbench.data.verify import verify
from segbench.reproduce.folders import Folders
from segbench.reproduce.job import PredictionsJob, command_line
from segbench.reproduce.predictions import pairs_of
from segbench.reproduce.scoring import require_labels

from .recognise import default_split, require_dataset
from .request import HELP, absent_rule


@dataclass(frozen=True)
class FoundPredictions:
    """Label files that were matched with the images of a split.

    Attributes:
        job: their evaluation.
        extra: files that belong to no image, by their path in the folder.
    """

    job: PredictionsJob
    extra: tuple[str, ...]


def find_predictions(
    folder: Path,
    folders: Folders,
    *,
    dataset: str | None,
    split: str | None = None,
    classes: str | None = None,
    encoding: str | None = None,
    absent: str = "exclude",
    command: str = "",
) -> FoundPredictions:
    """Match label files with the images of a split, and verify the data set.

    Args:
        folder: label PNGs, one per image.
        folders: results and data.
        dataset, split: of the images; val by default, or test if there is none.
        classes: class table; that of the data set by default.
        encoding: ``train-ids`` or ``label-ids``; None to tell from the values.
        absent: rule for absent classes.
        command: for the record; the command line by default.

    Raises:
        UsageFault: no data set is named, there is no such split or class table, or its labels are not public.
        MissingFault: data or label files are missing or faulty.
    """
    rule = absent_rule(absent)
    if dataset is None:
        raise UsageFault("Predictions do not say of which images: --dataset is required.", next=HELP)
    require_dataset(dataset)
    options = facts(dataset)
    split = split or default_split(dataset)
    require_split(options, split)
    table = class_table(classes or options.table)
    if table.name not in (options.table, *options.variants):
        raise UsageFault(f"{dataset} has no class table {classes!r}.", next=HELP)
    data = DataSpec(name=dataset, splits=(split,), classes=table.name if table.name != options.table else None)
    spec = EvaluationSpec(data=data, absent=rule)
    require_labels(spec)
    folders.store.check_writable()
    listed = pairs_of(spec, folders)
    if not listed:
        raise MissingFault(f"{options.title} {split} has no images here.", next=f"segbench data verify {dataset}")
    matched = predictions.match(folder, listed)
    verify(dataset, folders.data, splits=[split])
    return FoundPredictions(PredictionsJob(folder, spec, encoding, command or command_line()), matched.extra)
