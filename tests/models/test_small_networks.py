"""The networks of the small budgets are what their names promise."""

import pytest
import torch

from segbench.core import registry


@pytest.mark.parametrize("budget", ["SMALL", "SMOKE"])
@pytest.mark.parametrize("name", registry.names("backbone"))
def test_backbones_of_budgets_are_small(budget: str, name: str) -> None:
    known = registry.options_of("backbone", name)
    options = known.model_validate(getattr(known, budget))
    with torch.device("meta"):
        network = registry.implementation("backbone", name, "network").build(options, align_corners=True)
    assert sum(p.numel() for p in network.parameters()) < 1_500_000
