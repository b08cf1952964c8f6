"""Construction of a stage's method from its spec."""

from collections.abc import Mapping

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec, StageSpec, TrainingSpec
from segbench.models.segmentor import build_segmentor

from .base import Method


def needed_stages(stage: StageSpec) -> tuple[str, ...]:
    """Return the names of the earlier stages whose networks the stage's method is handed."""
    names: tuple[str, ...] = registry.chosen("method", stage.method).needs_stages()
    return names


def teachers_of(stage: StageSpec, training: TrainingSpec) -> dict[str, ModelSpec]:
    """Return the networks of earlier stages that a stage's method is handed, by stage name."""
    wanted = needed_stages(stage)
    return {each.name: each.model for each in training.stages if each.name in wanted}


def build_method(
    stage: StageSpec,
    *,
    num_classes: int,
    seed: int = 0,
    images: Mapping[str, int] | None = None,
    teachers: Mapping[str, ModelSpec] | None = None,
) -> Method:
    """Build the method with a randomly initialised network; draws come from torch's global generator.

    Args:
        stage: names method, network and streams.
        num_classes: C.
        seed: of the method's own draws.
        images: number of images of each stream; None if there are no data, only costs to be estimated.
        teachers: networks of earlier stages that it is handed with random weights, to estimate costs; None if it is
            handed trained ones later.

    Raises:
        UsageFault: a method, backbone or decoder is not registered.
        InvalidFault: an option does not exist or has an impossible value, the batches would lack what the network
            needs, or the method trains a classifier and the network has none.
    """
    segmentor = build_segmentor(stage.model, num_classes=num_classes)
    lost = [name for name, stream in stage.streams.items() if stream.augmentation.decisions == "batch"]
    if segmentor.wants_rows and lost:
        reason = f"decoder {stage.model.decoder.name} needs the places of a crop's rows, which decisions per batch lose"
        raise InvalidFault(*(f"stream {name!r}: {reason}." for name in lost), next="segbench list")
    options = registry.chosen("method", stage.method)
    build = registry.member("method", stage.method.name, "build", module="method")
    method: Method = build(options, segmentor, num_classes=num_classes, seed=seed)
    if segmentor.votes and method.wants_logits:
        fault = f"The method {stage.method.name} trains a classifier; the decoder {stage.model.decoder.name} has none."
        raise InvalidFault(fault, next="segbench list")
    method.see_data(stage.streams, input=stage.model.input, images=images or {})
    if teachers:
        networks = {name: build_segmentor(spec, num_classes=num_classes) for name, spec in teachers.items()}
        method.receive({name: network.eval().requires_grad_(False) for name, network in networks.items()})
    return method
