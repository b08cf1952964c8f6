"""What an evaluation leaves behind."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """One evaluation's figures, where they come from, and how they deviate from the publication.

    Attributes:
        id: id of the evaluation (training or checkpoint, and evaluation protocol).
        kind: ``training`` (a recipe's training), ``checkpoint`` (a file), ``predictions`` (label files) or
            ``cost`` (counted, nothing trained).
        training: id of the training, or the SHA-256 of the checkpoint or of the list of label files.
        family: the training's id with the seed left out; equal for runs that differ by seed alone.
        figures: metric to value; shares in percent.
        per_class: class name to IoU in percent; None where the class occurs neither in labels nor predictions.
        benchmark: what the data set's own benchmark scores besides, in percent: ``class_iiou``, ``category_iou`` and
            ``category_iiou`` by name of Cityscapes; None where a score is undefined.
        validation: best and last validation, as ``{"best": {"step": .., "miou": ..}, "last": ..., "curve": [...]}``.
        labelled: which labelled images were chosen, where not all were: an entry for each stage and stream with rule,
            draw, number, ``sha256`` of the names (each with a line end), and every name.
        timings: seconds, by name.
        deviations: from the published protocol of the row that asked first, as plain data.
        provenance: versions, device, precision, times.
        counts: name of the file beside the record with the confusion matrix and per-image counts.
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
    """That somebody asked a row to be run so: kept for ever, so that nobody can quietly try until it fits.

    Attributes:
        dataset: of the figures; ``on`` is the data set that was used in its place, if any.
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
