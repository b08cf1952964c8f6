"""Doing what a plan says: train, score, record; what fails is recorded and the others go on."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from segbench.checkpoints.loaded_model import LoadedModel, open_weights
from segbench.core import atomic
from segbench.core.errors import Busy, Interrupted, InvalidFault, RunFault, SegbenchError, first_line
from segbench.core.spec import EvaluationSpec, TrainingSpec
from segbench.data.open import open_dataset
from segbench.engine.evaluate import Evaluation
from segbench.engine.folder import PSEUDO_LABELS
from segbench.engine.labelled import labelled
from segbench.engine.train import BEST, LAST, StageInputs, Summary, read_summary, train_stage
from segbench.recipe import deviations
from segbench.results.record import Record
from segbench.results.store import Store

from .context import Context as Context
from .context import provenance as provenance
from .count import count_item
from .plan import Item, Plan, attempt_of, needed_splits
from .score import require_labels, require_verified, score_all


@dataclass
class Failure:
    """A training that did not end, and why."""

    item: Item
    error: SegbenchError


@dataclass
class Outcome:
    """What execution did."""

    done: list[Item] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)


def execute(plan: Plan, context: Context, *, announce: Callable[[str, int, int, float], None]) -> Outcome:
    """Run a plan, one training after the other.

    Args:
        plan: what to do.
        context: where and how.
        announce: called before each training with a title, its number, how many there are, and the estimated
            seconds of those after it.

    Raises:
        Interrupted: the user asked to stop; everything done is saved.
    """
    context.store.check_writable()
    for item in plan.items:
        if item.status != "waits":
            context.store.note_attempt(attempt_of(item))
    outcome = Outcome()
    for item in plan.counts():
        context.store.write(count_item(item))
        outcome.done.append(item)
    trainings = plan.trainings()
    later = plan.seconds
    for number, (training, (spec, items)) in enumerate(trainings.items(), 1):
        first = items[0]
        later -= first.seconds or 0.0
        announce(f"{first.name} · {first.resolved.runs_on} · seed {first.seed}", number, len(trainings), later)
        try:
            _train_and_score(training, spec, items, context)
        except Interrupted:
            raise
        except Busy as error:  # whoever trains it will record it, or why it failed
            outcome.failed.append(Failure(first, error))
        except SegbenchError as error:
            _note_failure(context.store, training, error)
            outcome.failed.append(Failure(first, error))
        except Exception as error:  # a bug or an exhausted machine in one training must not cost the others
            fault = _unforeseen(error, context.store.training_folder(training))
            _note_failure(context.store, training, fault)
            outcome.failed.append(Failure(first, fault))
        else:
            outcome.done += items
    return outcome


def run_training(training: TrainingSpec, context: Context) -> tuple[Path, Summary]:
    """Train every stage, each in the folder that all trainings with the same beginning share.

    Returns:
        Folder and summary of the last stage.
    """
    folders: dict[str, Path] = {}
    labels: Path | None = None
    summary: Summary | None = None
    for number, stage in enumerate(training.stages, 1):
        prefix = training.prefix_id(number)
        folder = context.store.training_folder(prefix)
        if read_summary(folder) is None:
            require_verified(needed_splits([stage]), context)
        atomic.write_json(folder / "training.json", training.canonical())
        summary = train_stage(
            stage,
            folder,
            training=prefix,
            seed=training.seed,
            runtime=context.runtime,
            data_root=context.data_root,
            inputs=StageInputs(
                weights=folders[stage.starts_from] / LAST if stage.starts_from else None,
                pseudo_labels=labels,
                networks={name: folder / LAST for name, folder in folders.items()},
            ),
            cache="off" if context.stream else "make",
            observer=context.observer,
            stop=context.stop,
        )
        folders[stage.name] = folder
        labels = folder / PSEUDO_LABELS if stage.emits == "pseudo_labels" else labels
    assert summary is not None
    return folder, summary


def score(path: Path, spec: EvaluationSpec, context: Context) -> tuple[Evaluation, LoadedModel]:
    """Score a weights file of segbench by a protocol."""
    subject = open_weights(path)
    advice = "the same command with --set evaluation.mode=slide --set evaluation.window=[512,1024]"
    (result,) = score_all([(subject, spec)], context, advice=advice)
    return result, subject


def _train_and_score(training: str, spec: TrainingSpec, items: list[Item], context: Context) -> None:
    protocols: dict[str, tuple[Item, EvaluationSpec]] = {}
    for item in items:
        protocol = item.resolved.scored
        assert protocol is not None
        protocols.setdefault(item.evaluation, (item, protocol))
        require_labels(protocol)
        # a split that is not there must not cost a training
        open_dataset(protocol.data, root=context.data_root, cache="off")
        if protocol.checkpoint == "best" and spec.stages[-1].schedule.validate_every is None:
            raise InvalidFault(
                "The best checkpoint is to be scored, but nothing validates this training.",
                next="the same command with --set schedule.validate_every=N",
            )
    folder, summary = run_training(spec, context)
    for item, protocol in protocols.values():
        weights = folder / (BEST if protocol.checkpoint == "best" else LAST)
        result, subject = score(weights, protocol, context)
        context.store.write(_record(item, spec, summary, result, subject, context), result.counts())
    context.store.clear_failure(training)


def _record(
    item: Item,
    spec: TrainingSpec,
    summary: Summary,
    result: Evaluation,
    subject: LoadedModel,
    context: Context,
) -> Record:
    protocol = item.resolved.scored
    assert protocol is not None
    found = deviations.between(item.resolved.published, item.resolved.ran)
    return Record(
        id=item.evaluation,
        kind="training",
        training=item.training,
        family=spec.family(),
        seed=spec.seed,
        budget=item.resolved.request.budget,
        dataset=protocol.data.name,
        split=protocol.data.splits[0],
        training_spec=spec.canonical(),
        evaluation_spec=protocol.canonical(),
        figures={
            **result.figures(absent=protocol.absent),
            "params_m": subject.parameters,
            **({} if summary.seconds_per_iteration is None else {"sec_per_iter": summary.seconds_per_iteration}),
        },
        per_class=dict(zip(subject.classes, result.per_class(), strict=True)),
        benchmark=result.benchmark_scores(),
        images=len(result.keys),
        validation={"best": summary.best, "last": summary.last, "curve": summary.curve},
        labelled=_labelled(spec, context.store),
        timings={
            "training_seconds": summary.seconds,
            "seconds_per_step": summary.seconds_per_step,
            "seconds_per_image": result.seconds_per_image,
            "peak_memory_bytes": summary.peak_memory_bytes,
        },
        deviations=[deviation.as_json() for deviation in found],
        provenance={
            **provenance(context.runtime),
            "weights": summary.weights,
            **_cut(spec),
            **_features(result, subject),
        },
        counts=f"{item.evaluation}.npz",
    )


def _cut(spec: TrainingSpec) -> dict[str, Any]:
    """Images of a forward pass by stage, where batches were cut."""
    found = {stage.name: stage.images_at_once for stage in spec.stages if stage.parts > 1}
    return {"micro_batch": found} if found else {}


def _features(result: Evaluation, subject: LoadedModel) -> dict[str, Any]:
    """How many pixels of each class the figures of features rest on."""
    return {"features": result.features.about(subject.classes)} if result.features else {}


def _labelled(spec: TrainingSpec, store: Store) -> list[dict[str, Any]]:
    """The labelled images of every stage, where not all of them were taken."""
    folders = {stage.name: store.training_folder(spec.prefix_id(n)) for n, stage in enumerate(spec.stages, 1)}
    return [entry for name, folder in folders.items() for entry in labelled(folder, name)]


def _note_failure(store: Store, training: str, error: SegbenchError) -> None:
    try:
        store.note_failure(training, " ".join(error.faults))
    except RunFault:
        return  # a full disk cannot hold the note either; the fault itself is shown


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
