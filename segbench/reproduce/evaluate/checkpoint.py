"""Evaluation of one checkpoint: found, opened, recognised, scored and recorded."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from segbench.checkpoints.find import CheckpointFile, find_checkpoint
from segbench.checkpoints.loaded_model import LoadedModel, adjusted
from segbench.checkpoints.published import PublishedCheckpoint, published_for
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import DataSpec, EvaluationSpec, evaluation_id
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.engine.runtime import Runtime
from segbench.metrics.scores import Absent
from segbench.reproduce.conventions import checkpoint_deviations, convention_of
from segbench.reproduce.folders import Folders
from segbench.reproduce.job import CheckpointJob, CheckpointReference, CheckpointTask, command_line
from segbench.reproduce.opening import open_reference
from segbench.reproduce.run import run_job
from segbench.reproduce.scoring import needed_splits, require_labels, require_verified
from segbench.results.record import Record

from .protocol import evaluation_spec, same_protocol
from .recognise import choose_data, names_note
from .reference import reference_to
from .request import EvalRequest


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A checkpoint with the data set and the protocol that it is to be scored by.

    Attributes:
        request: what the user asked for.
        source: its file.
        reference: how the file is opened, for a job.
        model: its network, under the conventions that were asked for.
        data: what it is scored on.
        published: what is published of it; None if nothing is known.
        spec: the protocol that was asked for.
    """

    request: EvalRequest
    source: CheckpointFile
    reference: CheckpointReference
    model: LoadedModel
    data: DataSpec
    published: PublishedCheckpoint | None
    spec: EvaluationSpec

    @property
    def named_model(self) -> LoadedModel:
        """The network, with the class names of the data set if it is another project's."""
        if self.model.header is not None:
            return self.model
        table = class_table(self.data.classes or facts(self.data.name).table)
        return replace(self.model, classes=table.names)

    @property
    def memory_advice(self) -> str:
        """Command that may fit if memory did not suffice."""
        window = self.spec.window if self.spec.mode == "slide" else None
        size = (512, 1024) if window is None else (max(1, window[0] // 2), max(1, window[1] // 2))
        return f"{self.request.command} --protocol slide --window {size[0]}x{size[1]}"

    @property
    def published_protocol(self) -> EvaluationSpec | None:
        """Protocol to compare with: that of the row; else of the published figure that was asked for, or the first."""
        if self.request.row is not None:
            return self.request.row.spec
        known = self.published.protocols_on(self.data) if self.published is not None else []
        return next((spec for spec in known if same_protocol(spec, self.spec)), known[0] if known else None)

    def task(
        self, model: LoadedModel, spec: EvaluationSpec, *, other_absent: tuple[Absent, ...] = ()
    ) -> CheckpointTask:
        """Return the evaluation of the network under some conventions by some protocol."""
        found = checkpoint_deviations(model, spec, self.published_protocol)
        return CheckpointTask(
            evaluation_id(model.identity, spec),
            spec,
            tuple(each.as_json() for each in found),
            convention=convention_of(model),
            other_absent=other_absent,
        )

    def job(
        self, tasks: Iterable[CheckpointTask], *, title: str = "", count_cost: bool = False, command: str = ""
    ) -> CheckpointJob:
        """Return the job of some evaluations.

        Args:
            tasks: evaluations, at least one.
            title: for display; the file and its data by default.
            count_cost: record parameters and multiply-adds too.
            command: for the records; the command line by default.
        """
        named = title or f"{self.model.path.name} · {self.spec.data.name} {self.spec.data.splits[0]}"
        return CheckpointJob(
            named, self.reference, tuple(tasks), self.memory_advice, count_cost, command or command_line()
        )


def open_checkpoint(request: EvalRequest, folders: Folders, *, observer: Observer = SILENT) -> OpenedCheckpoint:
    """Fetch, open and recognise a checkpoint; its data set must be there.

    Args:
        request: checkpoint, data and protocol.
        folders: results and data.
        observer: told about downloads.

    Raises:
        UsageFault, MissingFault, InvalidFault, RunFault: the file, the options or the data have faults.
    """
    folders.store.check_writable()
    opened = recognise_checkpoint(request, observer=observer)
    require_labels(opened.spec)
    require_verified(needed_splits([], opened.spec), folders)
    return opened


def recognise_checkpoint(request: EvalRequest, *, observer: Observer = SILENT) -> OpenedCheckpoint:
    """Fetch, open and recognise a checkpoint; its data set need not be there.

    Raises:
        UsageFault, MissingFault, InvalidFault, RunFault: the file or the options have faults.
    """
    source = find_checkpoint(request.checkpoint, observer=observer)
    reference = reference_to(source.path, request)
    model = adjusted(open_reference(reference), request.convention)
    published = source.published
    if published is None or published.disowns(model.sha256):
        published = None if model.header is not None else published_for(sha256=model.sha256)
    data = choose_data(request, model, published)
    if said := names_note(model, data):
        model = replace(model, notes=(*model.notes, said))
    spec = request.row.spec if request.row is not None else evaluation_spec(request, model, data, published)
    about = [("origin", source.origin)] if source.origin else []
    known = [("published", published_as_data(published))] if published is not None else []
    row = [("stands_for", [request.row.as_json()])] if request.row is not None else []
    reference = replace(reference, about=(*about, *known, *row))
    return OpenedCheckpoint(request, source, reference, model, data, published, spec)


def evaluate_checkpoint(
    opened: OpenedCheckpoint,
    folders: Folders,
    runtime: Runtime,
    *,
    observer: Observer = SILENT,
    command: str = "",
) -> Record:
    """Score a checkpoint by the protocol that was asked for, and record it.

    Raises:
        MissingFault, RunFault, Interrupted: as of ``run_job``.
    """
    job = opened.job([opened.task(opened.model, opened.spec)], count_cost=True, command=command)
    observer.announce(job.title, 1, 1)
    (record,) = run_job(job, folders, runtime, observer=observer, model=opened.model).records
    return record


def published_as_data(published: PublishedCheckpoint) -> dict[str, Any]:
    """Return what a record keeps of a published checkpoint."""
    figures = [
        {"metric": each.metric, "value": each.value, "protocol": each.protocol.short, "certainty": each.certainty,
         "source": each.source}
        for each in published.figures
    ]  # fmt: skip
    return {"name": published.name, "dataset": published.data, "split": published.split, "figures": figures}
