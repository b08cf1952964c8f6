"""Scoring networks under test, whatever their files come from: one path for trainings, checkpoints and own code."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from segbench.checkpoints.loaded_model import LoadedModel
from segbench.core.errors import UsageFault
from segbench.core.spec import EvaluationSpec, ModelSpec, Size, evaluation_id
from segbench.data import places
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.data.open import open_dataset
from segbench.data.verify import verify
from segbench.engine.evaluate import Evaluation, Trial, evaluate_all
from segbench.engine.instances import label_ids
from segbench.engine.predict import seen_size
from segbench.engine.progress import watching
from segbench.metrics.cost import Cost, count_cost
from segbench.metrics.rules import COST_RULES
from segbench.models.out_of_memory import memory_fault
from segbench.models.segmentor import build_segmentor
from segbench.recipe import deviations
from segbench.recipe.deviations import Deviation
from segbench.recipe.phrases import phrase
from segbench.recipe.protocol import Protocol
from segbench.results.record import Record

from .context import Context, provenance
from .plan import needed_splits

COST_RULE = "thop"


@dataclass(frozen=True)
class Costed:
    """What one forward pass of a network costs at the size that it is shown.

    Attributes:
        cost: the counts.
        size: (height, width) of what it is shown: the image, or one window of it.
    """

    cost: Cost
    size: Size

    @property
    def about(self) -> dict[str, Any]:
        return {"rule": self.cost.rule, "says": COST_RULES[self.cost.rule].sentence, "input": list(self.size)}


def score_all(
    trials: Sequence[tuple[LoadedModel, EvaluationSpec]], context: Context, *, advice: str
) -> list[Evaluation]:
    """Score networks by protocols of the same data; every image is read once.

    Args:
        trials: what is scored, and how.
        context: where and how.
        advice: the command that may help where memory does not suffice.

    Raises:
        UsageFault: the labels are not public, or there is no such split.
        MissingFault: the data set is missing or faulty.
        RunFault: not enough memory.
        Interrupted: stopped.
    """
    runtime = context.runtime
    runtime.apply()
    data = trials[0][1].data
    require_labels(trials[0][1])
    require_verified(needed_splits([], trials[0][1]), context)
    observer = watching(context.observer, context.stop)
    images = open_dataset(data, root=context.data_root, cache="off" if context.stream else "use", observer=observer)
    with memory_fault(advice):
        for subject, _ in trials:
            runtime.place(subject.segmentor)
        return evaluate_all(
            [Trial(subject.segmentor, spec, subject.input) for subject, spec in trials],
            images,
            runtime=runtime,
            labels=label_ids(data, images.classes),
            observer=context.observer,
            stop=context.stop,
        )


def require_labels(spec: EvaluationSpec) -> None:
    """Refuse to score what nobody here has labels for.

    Raises:
        UsageFault: the labels of a split are not public.
    """
    known = facts(spec.data.name)
    secret = [split for split in spec.data.splits if split in known.secret]
    if secret and spec.data.source == "folder":
        raise UsageFault(
            f"The labels of {known.title} {secret[0]} are not public: only its server can score predictions.",
            next=f"segbench export --checkpoint FILE --dataset {spec.data.name}",
        )


def require_verified(needed: dict[str, list[str]], context: Context) -> None:
    """Prove that files are what they claim to be before they are used; what passed once is remembered.

    Args:
        needed: data set to its splits that are read.
        context: where data lies.

    Raises:
        MissingFault: a data set is missing or faulty; one line a fault.
    """
    for name, splits in needed.items():
        verify(name, places.data_root(context.data_root), splits=splits)


def cost_of(subject: LoadedModel, spec: EvaluationSpec, image_size: Size | None) -> Costed | None:
    """Cost of a forward pass at the size that the network is shown; None where it cannot be counted."""
    if image_size is None:
        return None
    size = seen_size(image_size, spec)
    if subject.model is not None:
        model = subject.model.model_copy(update={"align_corners": False})  # costs the same
        return Costed(_cost_of_model(model.model_dump_json(), subject.num_classes, size), size)
    try:
        return Costed(count_cost(subject.segmentor, size, rule=COST_RULE), size)
    except Exception:  # the user's own code may do what cannot be done without numbers
        return None


@cache
def _cost_of_model(model: str, num_classes: int, size: Size) -> Cost:
    with torch.device("meta"):
        network = build_segmentor(ModelSpec.model_validate_json(model), num_classes=num_classes)
    return count_cost(network, size, rule=COST_RULE)


def checkpoint_record(
    subject: LoadedModel,
    spec: EvaluationSpec,
    result: Evaluation,
    context: Context,
    *,
    costed: Costed | None,
    published: EvaluationSpec | None = None,
    more: dict[str, Any] | None = None,
) -> Record:
    """The record of a checkpoint's evaluation.

    Args:
        subject: what was scored.
        spec: how.
        result: with what outcome.
        context: where and how it ran.
        costed: what a forward pass costs.
        published: the protocol of the published figure that it is compared with.
        more: provenance, e.g. where the file came from.
    """
    identity = evaluation_id(subject.identity, spec)
    names = class_table(spec.data.classes or facts(spec.data.name).table).names
    figures = {**result.figures(absent=spec.absent), "params_m": subject.parameters}
    about: dict[str, Any] = {"file": subject.path.name, **(more or {})}
    if costed is not None:
        figures["flops_g"] = costed.cost.multiply_adds / 1e9
        about["cost"] = costed.about
    return Record(
        id=identity,
        kind="checkpoint",
        training=subject.sha256,
        family=subject.sha256,
        dataset=spec.data.name,
        split=spec.data.splits[0],
        training_spec=training_spec(subject),
        evaluation_spec=spec.canonical(),
        figures=figures,
        per_class=dict(zip(subject.classes or names, result.per_class(), strict=True)),
        benchmark=result.benchmark_scores(),
        images=len(result.keys),
        timings={"seconds_per_image": result.seconds_per_image, "peak_memory_bytes": result.memory_bytes},
        deviations=[each.as_json() for each in deviations_of(subject, spec, published)],
        provenance={**provenance(context.runtime), **about},
        counts=f"{identity}.npz",
    )


def training_spec(subject: LoadedModel) -> dict[str, Any]:
    """What a record says of a checkpoint: where it comes from, and the conventions in force where they are not its."""
    changed = (subject.input, subject.align_corners) != subject.declared
    if subject.header is not None and not changed:
        return subject.about
    matched, wanted = subject.matched
    conventions = {"input": subject.input.model_dump(mode="json"), "align_corners": subject.align_corners}
    return {**subject.about, "matched": matched, "wanted": wanted, "in_force": conventions}


def deviations_of(subject: LoadedModel, spec: EvaluationSpec, published: EvaluationSpec | None) -> list[Deviation]:
    """What differs from the file's own conventions, from a complete checkpoint, and from the published protocol."""
    found: list[Deviation] = []
    input, align = subject.declared
    pairs = [(f"model.input.{name}", getattr(input, name), getattr(subject.input, name)) for name in _INPUT]
    pairs.append(("model.align_corners", align, subject.align_corners))
    for path, theirs, ours in pairs:
        if theirs != ours:
            theirs, ours = ([*each] if isinstance(each, tuple) else each for each in (theirs, ours))
            found.append(Deviation(path, theirs, ours, True, phrase(path, theirs, ours)))
    matched, wanted = subject.matched
    if matched < wanted:
        says = f"{wanted - matched:,} of {wanted:,} tensors of the network are not in the file and were left at random"
        found.append(Deviation("checkpoint.tensors", wanted, matched, True, says))
    if published is not None:
        # of the same data, as it was read here: only how it is scored is compared
        theirs_spec = published.model_copy(update={"data": spec.data, "absent": spec.absent})
        found += deviations.between(Protocol(evaluation=theirs_spec), Protocol(evaluation=spec))
    return found


_INPUT = ("channels", "mean", "std")
