"""Parameters and multiply-adds, of networks under test and of what a method trains."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from segbench.checkpoints.loaded_model import LoadedModel
from segbench.core.spec import CostSpec, EvaluationSpec, ModelSpec, Size, TrainingSpec
from segbench.engine.predict import seen_size
from segbench.methods.base import Method
from segbench.methods.build import build_method
from segbench.metrics.cost import Cost, count_cost
from segbench.metrics.rules import COST_RULES
from segbench.models.segmentor import build_segmentor

COST_RULE = "thop"


@dataclass(frozen=True)
class Costed:
    """Cost of a forward pass at the size that the network is shown.

    Attributes:
        cost: the counts.
        size: (height, width) of the image, or of one window of it.
    """

    cost: Cost
    size: Size

    @property
    def about(self) -> dict[str, Any]:
        """Rule and size, as plain data for a record."""
        return {"rule": self.cost.rule, "says": COST_RULES[self.cost.rule].sentence, "input": list(self.size)}


def cost_of(model: LoadedModel, spec: EvaluationSpec, image_size: Size | None) -> Costed | None:
    """Count a forward pass at the size that the network is shown; None if it cannot be counted."""
    if image_size is None:
        return None
    size = seen_size(image_size, spec)
    if model.model is not None:
        network = model.model.model_copy(update={"align_corners": False})  # costs the same
        return Costed(_cost_of_network(network.model_dump_json(), model.num_classes, size), size)
    try:
        return Costed(count_cost(model.segmentor, size, rule=COST_RULE), size)
    except Exception:  # the user's own code may do what cannot be done without numbers
        return None


def count_training(training: TrainingSpec, cost: CostSpec) -> Cost:
    """Count the last stage's network with everything that its method trains besides, on the meta device."""
    with torch.device("meta"):
        method = build_method(training.stages[-1], num_classes=cost.num_classes)
    return count_cost(TrainingPass(method), cost.input, rule=cost.rule)


@cache
def _cost_of_network(model: str, num_classes: int, size: Size) -> Cost:
    with torch.device("meta"):
        network = build_segmentor(ModelSpec.model_validate_json(model), num_classes=num_classes)
    return count_cost(network, size, rule=COST_RULE)


class TrainingPass(nn.Module):
    """A method as a network of images, so that its cost can be counted."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> object:
        return self.method.training_pass(images)
