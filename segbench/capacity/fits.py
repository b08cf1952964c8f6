"""Rows that fit a GPU at their full protocol, the fallbacks of the others, and what these cost in comparability."""

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

SIZES_GB = (8, 12, 24, 80)  # in GB of 10^9 bytes, the least that a card sold under this number has
GB = 10**9

SHORT = {"--checkpoint-activations": "ckpt", "--micro-batch N": "mbN", "--set evaluation.mode=slide": "slide"}
RESERVED = f"{CONTEXT_BYTES / GB:.1f} GB and {RESERVE_PERCENT} % of each are for CUDA and its libraries"
COSTS = {
    "--checkpoint-activations": (
        "costs nothing in comparability: the backbone's activations are computed again instead of kept, "
        "the gradients are the same, and a step takes about a third longer."
    ),
    "--micro-batch N": (
        "batch statistics, and the pairs of a contrastive loss, are of N images instead of the whole batch: "
        "a material deviation, verdicts become `not comparable`. The cross-entropy stays that of the batch."
    ),
    "--set evaluation.mode=slide": (
        "windows of the crop's size instead of whole images are another evaluation: a material deviation; "
        "the training is as published, and elsewhere its weights can be scored as published."
    ),
}


@dataclass(frozen=True)
class Fallback:
    """Options with which a row fits.

    Attributes:
        bytes: memory that it then needs.
        checkpoint: activations are checkpointed.
        micro_batch: images of a forward pass; None for the whole batch.
        window: (H, W) of the windows of the evaluation; None for the published evaluation.
    """

    bytes: int
    checkpoint: bool = False
    micro_batch: int | None = None
    window: tuple[int, int] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """Words to add to the command line; empty if the row fits as published."""
        words = ["--checkpoint-activations"] if self.checkpoint else []
        words += [f"--micro-batch {self.micro_batch}"] if self.micro_batch is not None else []
        if self.window is not None:
            words += ["--set evaluation.mode=slide", f"--set evaluation.window=[{self.window[0]},{self.window[1]}]"]
        return tuple(words)

    @property
    def short(self) -> str:
        """The same for a narrow column, in the abbreviations of ``SHORT``."""
        found = [SHORT["--checkpoint-activations"]] if self.checkpoint else []
        found += [SHORT["--micro-batch N"].replace("N", str(self.micro_batch))] if self.micro_batch is not None else []
        found += [SHORT["--set evaluation.mode=slide"]] if self.window is not None else []
        return "+".join(found) or "yes"

    @property
    def comparable(self) -> bool:
        """True if verdicts remain possible."""
        return self.micro_batch is None and self.window is None


@dataclass(frozen=True)
class Requirement:
    """Memory of one row on one data set on one GPU, in bytes.

    Attributes:
        resolved: the row at its full protocol.
        precision: of the run.
    """

    resolved: Resolved
    precision: Precision
    _sizes: dict[tuple[int | None, bool], int] = field(default_factory=dict, repr=False)

    @property
    def batch(self) -> int:
        """Batch of the last stage's largest stream, in images."""
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
        """Compute the estimates that are not cached yet, which takes seconds."""
        self.training()
        _ = self.evaluation

    def training(self, *, micro_batch: int | None = None, checkpoint: bool = False) -> int:
        """Return the bytes of a training step, or of the validation if that needs more."""
        key = (micro_batch, checkpoint)
        if key not in self._sizes:
            found = training_memory(
                self._training, precision=self.precision, micro_batch=micro_batch, checkpoint=checkpoint
            )
            self._sizes[key] = max(found.total, self._validation(found.optimizer))
        return self._sizes[key]

    def _validation(self, optimizer: int) -> int:
        """Return the bytes of validating on whole images, with the optimizer's state on the device."""
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
        """Yield the micro-batches that every stage can be trained with, largest first."""
        stages = self._training.stages
        batches = [[stream.batch_total for stream in stage.streams.values()] for stage in stages]
        sizes = {size for each in batches for size in even_sizes(each)}
        for size in sorted(sizes, reverse=True):
            cuts = not any(cut_fault(size, each) for each in batches)
            if cuts and (size > 1 or all(map(_trains_on_single_images, stages))):
                yield size

    def fit(self, memory_bytes: int) -> Fallback | None:
        """Return the fallback that costs least; None if there is none."""
        window = None
        scoring = self.evaluation
        if scoring > memory_bytes:
            window, scoring = self.crop, self.sliding
        if scoring > memory_bytes:
            return None
        for checkpoint, micro_batch in self._options():
            training = self.training(micro_batch=micro_batch, checkpoint=checkpoint)
            if training <= memory_bytes:
                return Fallback(max(training, scoring), checkpoint, micro_batch, window)
        return None

    def _options(self) -> Iterator[tuple[bool, int | None]]:
        """Yield (checkpointing, micro-batch): the former costs no comparability, larger micro-batches cost less."""
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
        """Return it as plain data."""
        return {
            "table": self.resolved.table.name,
            "row": self.resolved.row,
            "dataset": self.resolved.dataset,
            "batch": self.batch,
            "precision": self.precision,
            "bytes": self.published,
            "checkpointed_bytes": self.checkpointed,
            "evaluation_bytes": self.evaluation,
            "fits_gb": size_class(self.published),
            "fits_checkpointed_gb": size_class(self.checkpointed),
        }


def requirements(catalog: Catalog, tables: Iterable[str], *, precision: Precision = "bfloat16") -> list[Requirement]:
    """Return the rows that train something and lack nothing but data; estimates are computed when asked for."""
    found = [resolved for table in tables for resolved in resolve_all(catalog, table)]
    return [
        Requirement(resolved, precision)
        for resolved in found
        if resolved.ran.training is not None and not resolved.unsupported and not resolved.is_counted
    ]


def size_class(count: int) -> int | None:
    """Return the smallest of ``SIZES_GB`` that holds so many bytes; None if none does."""
    return next((size for size in SIZES_GB if count <= size * GB), None)


def grouped(found: Iterable[Requirement]) -> list[list[Requirement]]:
    """Group the rows of a table that need the same on the same data to 0.1 GB."""
    groups: dict[tuple[object, ...], list[Requirement]] = {}
    for need in found:
        resolved = need.resolved
        sizes = [round(each / GB, 1) for each in (need.training(), need.training(checkpoint=True), need.evaluation)]
        key = (resolved.table.name, resolved.dataset, label(need), need.batch, *sizes)
        groups.setdefault(key, []).append(need)
    return list(groups.values())


def label(need: Requirement) -> str:
    """Return the network of the last stage in words."""
    training = need.resolved.ran.training
    assert training is not None
    return model_label(training.stages[-1].model)


def _trains_on_single_images(stage: StageSpec) -> bool:
    """Return True if a network can be trained on single images, which may leave a norm with a single value."""
    alone = {"schedule": stage.schedule.model_copy(update={"micro_batch": 1}), "method": Choice(name="supervised")}
    try:
        count_stage(stage.model_copy(update=alone), precision="bfloat16")
    except InvalidFault:
        return False
    return True
