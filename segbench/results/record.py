"""Records of evaluations, and of the attempts that asked for them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Figures of one evaluation with their provenance and their deviations from the publication.

    Attributes:
        id: id of the evaluation (training or checkpoint, and evaluation protocol).
        kind: ``training`` (a recipe's training), ``checkpoint`` (a file), ``predictions`` (label files) or
            ``cost`` (counted, nothing trained).
        training: id of the training, or the SHA-256 of the checkpoint or of the list of label files.
        family: the training's id with the seed left out; equal for runs that differ by seed alone.
        figures: values by metric; shares in percent.
        per_class: IoU by class name, in percent; None where the class occurs neither in labels nor predictions.
        benchmark: further scores of the data set's own benchmark, in percent: of Cityscapes ``class_iiou``,
            ``category_iou`` and ``category_iiou`` by name; None where a score is undefined.
        validation: best and last validation, as ``{"best": {"step": .., "miou": ..}, "last": ..., "curve": [...]}``.
        labelled: the labelled images that were chosen, where not all were: an entry per stage and stream with rule,
            draw, number, ``sha256`` of the names (each with a line end), and every name.
        timings: seconds, by name.
        deviations: deviations from the published protocol of the row that was first requested, as plain data.
        provenance: versions, device, precision, times.
        counts: name of the file beside the record with the confusion matrix and the counts per image.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1] = Field(1, alias="schema")
    id: str
    kind: Literal["training", "checkpoint", "predictions", "cost"]
    training: str
    family: str
    seed: int = 0
    budget: str = "full"
    dataset: str
    split: str
    training_spec: dict[str, Any] = {}
    evaluation_spec: dict[str, Any] = {}
    figures: dict[str, float | None]
    per_class: dict[str, float | None] = {}
    benchmark: dict[str, dict[str, float | None]] = {}
    images: int = 0
    validation: dict[str, Any] = {}
    labelled: list[dict[str, Any]] = []
    timings: dict[str, float] = {}
    deviations: list[dict[str, Any]] = []
    provenance: dict[str, Any] = {}
    counts: str | None = None


class Attempt(BaseModel):
    """Request to run a row; kept for good, so that trying readings until one fits stays visible.

    Attributes:
        dataset: data set of the figures; ``on`` is the one that was used instead, if any.
        look: 1 for seeds that were planned before any result; one more each time that seeds were added to results.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    row: str
    dataset: str
    budget: str = "full"
    seed: int = 0
    readings: dict[str, str] = {}
    settings: dict[str, Any] = {}
    on: str | None = None
    training: str
    evaluation: str
    look: int = 1
