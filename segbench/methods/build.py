"""A stage's method from its spec."""

from segbench.core import registry
from segbench.core.spec import StageSpec
from segbench.models.segmentor import build_segmentor

from .base import Method


def build_method(stage: StageSpec, *, num_classes: int, seed: int = 0) -> Method:
    """The method around a randomly initialised network; draws come from torch's global generator.

    Raises:
        UsageFault: a part is not registered.
        InvalidFault: an option does not exist or has an impossible value.
    """
    segmentor = build_segmentor(stage.model, num_classes=num_classes)
    options = registry.options_of("method", stage.method.name).model_validate(stage.method.options)
    module = registry.implementation("method", stage.method.name, "method")
    method: Method = module.build(options, segmentor, num_classes=num_classes, seed=seed)
    method.steps = stage.schedule.steps
    return method
