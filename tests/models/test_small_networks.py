"""The networks of the small budgets are what their names promise."""

import pytest
import torch

from segbench.core import registry
from segbench.recipe.catalog import default_catalog

BUDGETS = default_catalog().budgets


@pytest.mark.parametrize(
    ("budget", "name"), [(budget, name) for budget in BUDGETS for name in BUDGETS[budget].backbones]
)
def test_backbones_of_budgets_are_small(budget: str, name: str) -> None:
    scaled = BUDGETS[budget].backbones[name]
    options = registry.options_of("backbone", name).model_validate(scaled)
    with torch.device("meta"):
        network = registry.implementation("backbone", name, "network").build(options, align_corners=True)
    assert sum(p.numel() for p in network.parameters()) < 1_500_000
