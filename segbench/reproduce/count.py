"""Figures that need no training: parameters and multiply-adds."""

import torch
from torch import Tensor, nn

from segbench.core.provenance import segbench_version
from segbench.methods.base import Method
from segbench.methods.build import build_method
from segbench.metrics.cost import Cost, count_cost
from segbench.recipe import deviations
from segbench.results.record import Record

from .plan import Item


def count_item(item: Item) -> Record:
    """Count a row's network with everything that its method trains besides, on the meta device."""
    resolved = item.resolved
    training, cost = resolved.ran.training, resolved.ran.cost
    assert training is not None
    assert cost is not None
    stage = training.stages[-1]
    with torch.device("meta"):
        method = build_method(stage, num_classes=cost.num_classes)
    counted: Cost = count_cost(_TrainingPass(method), cost.input, rule=cost.rule)
    return Record(
        id=item.evaluation,
        kind="cost",
        training="",
        family=item.evaluation,
        budget=resolved.request.budget,
        dataset=resolved.dataset,
        split="train",
        training_spec=training.canonical(),
        evaluation_spec=cost.canonical(),
        figures={
            "params_m": counted.parameters / 1e6,
            "flops_g": counted.multiply_adds / 1e9,
            "usual_flops_g": counted.flops / 1e9,
        },
        deviations=[deviation.as_json() for deviation in deviations.between(resolved.published, resolved.ran)],
        provenance={**segbench_version(), "torch": torch.__version__, "rule": counted.rule},
    )


class _TrainingPass(nn.Module):
    """A method as a network of images, so that its cost can be counted."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> object:
        return self.method.training_pass(images)
