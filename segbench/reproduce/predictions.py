"""Scoring of the label files of a job, as a network would be scored."""

import hashlib

from segbench.core.progress import SILENT, Observer
from segbench.core.spec import EvaluationSpec
from segbench.data import predictions
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.data.handle import find_dataset
from segbench.data.reader import Pair
from segbench.engine.predictions import count_predictions

from .folders import Folders
from .job import PredictionsJob
from .outcome import PredictionsScore


def score_predictions(job: PredictionsJob, folders: Folders, *, observer: Observer = SILENT) -> PredictionsScore:
    """Read and count the label files of a job.

    Raises:
        UsageFault: the values do not tell their encoding.
        MissingFault: a file is missing or faulty.
        Interrupted: a stop was requested.
    """
    data = job.spec.data
    table = class_table(data.classes or facts(data.name).table)
    listed = pairs_of(job.spec, folders)
    matched = predictions.match(job.folder, listed)
    read = observer.counter(f"reading {job.folder}", "files")
    found = predictions.read_values(matched.files, listed, progress=read)
    encoding = predictions.label_encoding(found.values, table, encoding=job.encoding, folder=job.folder)
    evaluation = count_predictions(
        matched.files,
        listed,
        data,
        encoding,
        title=f"counting {job.folder}",
        observer=observer,
    )
    sha256 = _list_sha256([pair.key for pair in listed], found.digests, encoding=encoding.encoding)
    return PredictionsScore(evaluation, sha256, encoding.encoding, len(matched.extra))


def pairs_of(spec: EvaluationSpec, folders: Folders) -> list[Pair]:
    """Return the images and labels of a split, in order."""
    return find_dataset(spec.data.name, folders.data).pairs(spec.data.splits[0])


def _list_sha256(keys: list[str], digests: tuple[str, ...], *, encoding: str) -> str:
    """Return the SHA-256 of the list of label files: their encoding, images and pixels."""
    lines = [encoding, *(f"{digest}  {key}" for key, digest in zip(keys, digests, strict=True))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
