"""Re-scoring of a table: the released weights that stand for its rows, by the rows' published protocols."""

from collections.abc import Sequence
from dataclasses import dataclass

from segbench.core.errors import Interrupted, SegbenchError
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import EvaluationSpec
from segbench.engine.runtime import Runtime
from segbench.recipe.released import ReleasedWeights
from segbench.reproduce.folders import Folders
from segbench.reproduce.run import run_job
from segbench.results.record import Record

from .checkpoint import OpenedCheckpoint, open_checkpoint
from .request import EvalRequest, ScoredRow
from .row import as_row


@dataclass(frozen=True)
class Rescoring:
    """Results of re-scoring.

    Attributes:
        records: evaluations, in the order of the rows; those by the publishers' protocols after that by the row's.
        failed: checkpoints that could not be scored, and why.
    """

    records: tuple[Record, ...]
    failed: tuple[tuple[str, SegbenchError], ...]


def rescore(
    rows: Sequence[tuple[ReleasedWeights, ScoredRow]],
    folders: Folders,
    runtime: Runtime,
    *,
    observer: Observer = SILENT,
    command: str = "",
) -> Rescoring:
    """Score released weights as the rows that they stand for; one that fails does not stop the others.

    Each is scored by the row's published protocol, and in the same pass by those that its publishers state for it.

    Args:
        rows: weights with their rows.
        folders: results and data.
        runtime: device and precision.
        observer: receives progress, and is polled for a stop request.
        command: for the records; the command line by default.

    Raises:
        Interrupted: a stop was requested; everything done is saved.
    """
    records: list[Record] = []
    failed: list[tuple[str, SegbenchError]] = []
    for number, (weights, row) in enumerate(rows, 1):
        try:
            opened = open_checkpoint(as_row(EvalRequest(weights.checkpoint), row), folders, observer=observer)
            tasks = [opened.task(opened.model, spec) for spec in (opened.spec, *_published(opened))]
            job = opened.job(tasks, title=f"{weights.checkpoint} as {row}", command=command)
            observer.announce(job.title, number, len(rows))
            records += run_job(job, folders, runtime, observer=observer, model=opened.model).records
        except Interrupted:
            raise
        except SegbenchError as error:
            failed.append((weights.checkpoint, error))
    return Rescoring(tuple(records), tuple(failed))


def _published(opened: OpenedCheckpoint) -> list[EvaluationSpec]:
    """Return the protocols of the publishers' own figures, on the same images."""
    if opened.published is None:
        return []
    found: list[EvaluationSpec] = []
    for protocol in opened.published.protocols_on(opened.spec.data):
        theirs = protocol.model_copy(update={"data": opened.spec.data})
        found += [theirs] if theirs not in (opened.spec, *found) else []
    return found
