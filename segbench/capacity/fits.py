"""Which rows fit which GPU at their full protocol, with which fallback, and what that costs in comparability."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from segbench.core.errors import InvalidFault
from segbench.core.micro_batch import cut_fault, even_sizes
from segbench.core.spec import Choice, EvaluationSpec, StageSpec, TrainingSpec
from segbench.engine.runtime import Precision
from segbench.models.labels import model_label
from segbench.recipe.catalog import Catalog
from segbench.recipe.resolve import Resolved, resolve_all

from .memory import CONTEXT_BYTES, RESERVE_PERCENT, count_stage, evaluation_memory, training_memory

CLASSES_GB = (8, 12, 24, 80)  # a GB is 10^9 bytes: what a card that is sold under the number has to give at least
GB = 10**9

SHORT = {"--checkpoint-activations": "ckpt", "--micro-batch N": "mbN", "--set evaluation.mode=slide": "slide"}
RESERVED = f"{CONTEXT_BYTES / GB:.1f} GB and {RESERVE_PERCENT} % of each are for CUDA and its libraries"
COSTS = {
    "--checkpoint-activations": (
        "costs nothing in comparability: the backbone's activations are computed again instead of kept, "
        "the gradients are the same, and a step takes about a third longer."
    ),
    "--micro-batch N": (
        "batch statistics, and what a contrastive loss compares, are of N images instead of the whole batch: "
        "a material deviation, verdicts become `not comparable`. The cross-entropy stays that of the batch."
    ),
    "--set evaluation.mode=slide": (
        "windows of the crop's size instead of whole images are another evaluation: a material deviation; "
        "the training is as published, and elsewhere its weights can be scored as published."
    ),
}


@dataclass(frozen=True)
class Fallback:
    """How a row fits.

    Attributes:
        bytes: what it then needs.
        checkpoint: whether activations are checkpointed.
        micro_batch: images of a forward pass; None for the whole batch.
        window: side lengths of the windows of the evaluation; None where it stays as published.
    """

    bytes: int
    checkpoint: bool = False
    micro_batch: int | None = None
    window: tuple[int, int] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """What is added to the command line; nothing if the row fits as published."""
        words = ["--checkpoint-activations"] if self.checkpoint else []
        words += [f"--micro-batch {self.micro_batch}"] if self.micro_batch is not None else []
        if self.window is not None:
            words += ["--set evaluation.mode=slide", f"--set evaluation.window=[{self.window[0]},{self.window[1]}]"]
        return tuple(words)

    @property
    def short(self) -> str:
        """The same for a narrow column, in the words of ``SHORT``."""
        found = [SHORT["--checkpoint-activations"]] if self.checkpoint else []
        found += [SHORT["--micro-batch N"].replace("N", str(self.micro_batch))] if self.micro_batch is not None else []
        found += [SHORT["--set evaluation.mode=slide"]] if self.window is not None else []
        return "+".join(found) or "yes"

    @property
    def comparable(self) -> bool:
        """Whether verdicts remain possible."""
        return self.micro_batch is None and self.window is None


@dataclass(frozen=True)
class Need:
    """What one row on one data set needs on one GPU, in bytes.

    Attributes:
        resolved: the row at its full protocol.
        precision: of the run.
    """

    resolved: Resolved
    precision: Precision
    _sizes: dict[tuple[int | None, bool], int] = field(default_factory=dict, repr=False)

    @property
    def batch(self) -> int:
        """Images of the last stage's largest stream."""
        return max(stream.batch_total for stream in self._training.stages[-1].streams.values())

    @property
    def published(self) -> int:
        """Training and evaluation as published."""
        return max(self.training(), self.evaluation)

    @property
    def checkpointed(self) -> int:
        """The same with activation checkpointing."""
        return max(self.training(checkpoint=True), self.evaluation)

    def count(self) -> None:
        """Count what is not known yet, which takes seconds."""
        self.training()
        _ = self.evaluation

    def training(self, *, micro_batch: int | None = None, checkpoint: bool = False) -> int:
        """A step, or the validation where that needs more."""
        key = (micro_batch, checkpoint)
        if key not in self._sizes:
            found = training_memory(
                self._training, precision=self.precision, micro_batch=micro_batch, checkpoint=checkpoint
            )
            self._sizes[key] = max(found.total, self._validation(found.optimizer))
        return self._sizes[key]

    def _validation(self, optimizer: int) -> int:
        """Whole images of the validation, while the optimiser's momenta stay where they are."""
        stage = self._training.stages[-1]
        if stage.schedule.validate_every is None:
            return 0
        data = stage.primary_stream.data
        return self._evaluation(EvaluationSpec(data=data)) + optimizer

    @cached_property
    def evaluation(self) -> int:
        return self._evaluation(self.resolved.scored)

    @cached_property
    def sliding(self) -> int:
        """Evaluation with windows of the crop's size."""
        spec = self.resolved.scored
        update = {"mode": "slide", "window": self.crop, "stride": None}
        return self._evaluation(None if spec is None else spec.model_copy(update=update))

    @property
    def crop(self) -> tuple[int, int]:
        return self._training.stages[-1].primary_stream.crop

    def micro_batches(self) -> Iterator[int]:
        """Sizes at which the batches of every stage can be cut and trained, largest first."""
        stages = self._training.stages
        batches = [[stream.batch_total for stream in stage.streams.values()] for stage in stages]
        sizes = {size for each in batches for size in even_sizes(each)}
        for size in sorted(sizes, reverse=True):
            cuts = not any(cut_fault(size, each) for each in batches)
            if cuts and (size > 1 or all(map(_trains_alone, stages))):
                yield size

    def fit(self, memory_bytes: int) -> Fallback | None:
        """The fallback that costs least, or None if there is none."""
        window = None
        scoring = self.evaluation
        if scoring > memory_bytes:
            window, scoring = self.crop, self.sliding
        if scoring > memory_bytes:
            return None
        for checkpoint, micro_batch in self._ways():
            training = self.training(micro_batch=micro_batch, checkpoint=checkpoint)
            if training <= memory_bytes:
                return Fallback(max(training, scoring), checkpoint, micro_batch, window)
        return None

    def _ways(self) -> Iterator[tuple[bool, int | None]]:
        """Checkpointing costs no comparability; of micro-batches the largest is nearest to the batch."""
        yield from ((False, None), (True, None))
        for size in self.micro_batches():
            yield from ((False, size), (True, size))

    @property
    def _training(self) -> TrainingSpec:
        training = self.resolved.ran.training
        assert training is not None
        return training

    def _evaluation(self, spec: EvaluationSpec | None) -> int:
        if spec is None:
            return 0
        return evaluation_memory(self._training.stages[-1], spec, precision=self.precision).total

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "table": self.resolved.table.name,
            "row": self.resolved.row,
            "dataset": self.resolved.dataset,
            "batch": self.batch,
            "precision": self.precision,
            "bytes": self.published,
            "checkpointed_bytes": self.checkpointed,
            "evaluation_bytes": self.evaluation,
            "fits_gb": class_of(self.published),
            "fits_checkpointed_gb": class_of(self.checkpointed),
        }


def needs(catalog: Catalog, tables: Iterable[str], *, precision: Precision = "bfloat16") -> list[Need]:
    """Rows that train something and wait for nothing but data; nothing is counted yet."""
    found = [resolved for table in tables for resolved in resolve_all(catalog, table)]
    return [
        Need(resolved, precision)
        for resolved in found
        if resolved.ran.training is not None and not resolved.unsupported and not resolved.is_counted
    ]


def class_of(count: int) -> int | None:
    """The smallest class of ``CLASSES_GB`` that holds so many bytes; None if none does."""
    return next((size for size in CLASSES_GB if count <= size * GB), None)


def grouped(found: Iterable[Need]) -> list[list[Need]]:
    """Rows of a table that need the same on the same data to 0.1 GB, together."""
    groups: dict[tuple[object, ...], list[Need]] = {}
    for need in found:
        resolved = need.resolved
        sizes = [round(each / GB, 1) for each in (need.training(), need.training(checkpoint=True), need.evaluation)]
        key = (resolved.table.name, resolved.dataset, label(need), need.batch, *sizes)
        groups.setdefault(key, []).append(need)
    return list(groups.values())


def label(need: Need) -> str:
    """The network of the last stage."""
    training = need.resolved.ran.training
    assert training is not None
    return model_label(training.stages[-1].model)


def _trains_alone(stage: StageSpec) -> bool:
    """Whether a network can be trained on one image at a time: not if that leaves a normalisation with one value."""
    alone = {"schedule": stage.schedule.model_copy(update={"micro_batch": 1}), "method": Choice(name="supervised")}
    try:
        count_stage(stage.model_copy(update=alone), precision="bfloat16")
    except InvalidFault:
        return False
    return True
