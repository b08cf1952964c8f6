"""Scoring of networks: one path for trainings, checkpoints and the user's own code."""

from collections.abc import Sequence

from segbench.checkpoints.loaded_model import LoadedModel
from segbench.core.errors import UsageFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import EvaluationSpec, StageSpec
from segbench.data.facts import facts
from segbench.data.open import open_dataset
from segbench.data.prepared.folder import CacheUse
from segbench.data.verify import verify
from segbench.engine.evaluate import Evaluation, Trial, evaluate_all
from segbench.engine.instances import label_ids
from segbench.engine.runtime import Runtime
from segbench.models.out_of_memory import memory_fault

from .folders import Folders


def score_all(
    trials: Sequence[tuple[LoadedModel, EvaluationSpec]],
    folders: Folders,
    runtime: Runtime,
    *,
    advice: str,
    observer: Observer = SILENT,
) -> list[Evaluation]:
    """Score networks by protocols of the same data; every image is read once.

    Args:
        trials: networks with their protocols.
        folders: where data lies.
        runtime: device and precision.
        advice: command that may help if memory does not suffice.
        observer: receives progress, and is polled for a stop request.

    Raises:
        UsageFault: the labels are not public, or there is no such split.
        MissingFault: the data set is missing or faulty.
        RunFault: out of memory.
        Interrupted: a stop was requested.
    """
    runtime.apply()
    data = trials[0][1].data
    require_labels(trials[0][1])
    require_verified(needed_splits([], trials[0][1]), folders)
    cache: CacheUse = "use" if folders.use_cache else "off"
    images = open_dataset(data, root=folders.data, cache=cache, observer=observer.phase("prepare"))
    with memory_fault(advice):
        for model, _ in trials:
            runtime.place(model.segmentor)
        return evaluate_all(
            [Trial(model.segmentor, spec, model.input) for model, spec in trials],
            images,
            runtime=runtime,
            labels=label_ids(data, images.classes),
            observer=observer,
        )


def require_labels(spec: EvaluationSpec) -> None:
    """Refuse a split whose labels are not public.

    Raises:
        UsageFault: only a server has the labels.
    """
    known = facts(spec.data.name)
    secret = [split for split in spec.data.splits if split in known.secret]
    if secret and spec.data.source == "folder":
        raise UsageFault(
            f"The labels of {known.title} {secret[0]} are not public: only its server can score predictions.",
            next=f"segbench export --checkpoint FILE --dataset {spec.data.name}",
        )


def require_verified(needed: dict[str, list[str]], folders: Folders) -> None:
    """Verify files before they are used; what passed once and is unchanged is not read again.

    Args:
        needed: data set to its splits that are read.
        folders: where data lies.

    Raises:
        MissingFault: a data set is missing or faulty; one line a fault.
    """
    for name, splits in needed.items():
        verify(name, folders.data, splits=splits)


def needed_splits(stages: Sequence[StageSpec], evaluation: EvaluationSpec | None = None) -> dict[str, list[str]]:
    """Return the data sets that are read from files, each with the splits trained, validated or scored on."""
    specs = [] if evaluation is None else [evaluation.data]
    for stage in stages:
        data = [stream.data for stream in stage.streams.values()]
        specs += data
        if stage.schedule.validate_every is not None and "val" in facts(data[0].name).splits:
            specs.append(data[0].model_copy(update={"splits": ("val",)}))
    needed: dict[str, list[str]] = {}
    for spec in specs:
        if spec.source == "folder":
            splits = needed.setdefault(spec.name, [])
            splits += [split for split in spec.splits if split not in splits]
    return needed
