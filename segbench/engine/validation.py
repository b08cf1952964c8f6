"""Validation of a network during its training."""

from segbench.core import registry
from segbench.core.progress import Observer
from segbench.core.spec import DataSpec, EvaluationSpec, InputSpec, StageSpec
from segbench.data.dataset import SegDataset
from segbench.data.facts import facts
from segbench.models.segmentor import Segmentor

from .evaluate import evaluate
from .runtime import Runtime


def validation_split(stage: StageSpec) -> DataSpec | None:
    """Return the validation split of the primary stream's data set; None without one, or if nothing validates."""
    data = stage.primary_stream.data
    if not registry.options_of("method", stage.method.name).validates:
        return None
    if stage.schedule.validate_every is None or "val" not in facts(data.name).splits:
        return None
    own = {"splits": ("val",), "subset": None, "unlabelled_rest": False}
    return data.without_labels_from().model_copy(update=own)


def validate(
    segmentor: Segmentor,
    images: SegDataset,
    *,
    name: str,
    input: InputSpec,
    runtime: Runtime,
    observer: Observer,
) -> float:
    """Return the mIoU in percent on whole images at a single scale; NaN if nothing is labelled.

    Args:
        segmentor: network to score.
        images: validation split.
        name: of the class table.
        input: channel order and normalisation.
        runtime: device and precision.
        observer: receives the progress, and is polled for a stop request between images.

    Raises:
        Interrupted: a stop was requested.
        MissingFault: an image or label cannot be read.
    """
    result = evaluate(
        segmentor,
        images,
        EvaluationSpec(data=DataSpec(name=name, splits=("val",))),
        input=input,
        runtime=runtime,
        phase="validate",
        observer=observer,
    )
    return result.figures(absent="exclude")["miou"]
