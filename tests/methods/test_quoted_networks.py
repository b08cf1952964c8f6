"""SpyGR's and ACF's rows as their recipes have them: a step of the smallest budget, and what their readings ask for."""

from typing import Any

import pytest
import torch

from segbench.core.spec import StageSpec
from segbench.data.batch import Batch
from segbench.methods.build import build_method
from segbench.methods.supervised.options import Options
from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request, resolve
from tests.steps import at

TABLE = "contrastiveseg-table1"


def stage_of(row: str, budget: str, **readings: str) -> StageSpec:
    request = Request(budget, readings=tuple((name.replace("_", "-"), option) for name, option in readings.items()))
    found = resolve(default_catalog(), TABLE, row, "cityscapes", request)
    assert found.ran.training is not None
    (stage,) = found.ran.training.stages
    return stage


@pytest.mark.parametrize(
    ("row", "readings", "losses"),
    [
        ("spygr-r101", {}, {"ce", "aux"}),
        ("spygr-r101", {"spygr_levels": "3", "spygr_kernel": "3x3"}, {"ce", "aux"}),
        ("acf-r101", {}, {"ce", "aux"}),
        ("acf-r101", {"acf_hard_examples": "no"}, {"ce", "aux"}),
    ],
)
@pytest.mark.parametrize("size", [(33, 47), (32, 64)])
def test_a_step(row: str, readings: dict[str, str], losses: set[str], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    method = build_method(stage_of(row, "smoke", **readings), num_classes=19).train()
    assert sum(parameter.numel() for parameter in method.parameters()) < 2_000_000
    target = torch.randint(0, 19, (4, *size))
    target[0, :9] = 255
    batch = Batch(torch.randn(4, 3, *size).to(memory_format=torch.channels_last), target, tuple("abcd"))
    found = method({"labelled": batch}, at(0))
    assert set(found) == losses
    sum(found.values()).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    method.eval()
    assert method.predictor()(batch.images).logits.shape[:2] == (4, 19)


@pytest.mark.parametrize("row", ["spygr-r101", "acf-r101"])
def test_small_networks_are_small(row: str) -> None:
    with torch.device("meta"):
        method = build_method(stage_of(row, "small"), num_classes=19)
    assert sum(parameter.numel() for parameter in method.parameters()) < 2_000_000


@pytest.mark.parametrize(("reading", "images"), [("yes", 2), ("batch", 8)])
def test_shares_are_the_published_pixels(reading: str, images: int) -> None:
    """100000 of the crops that they are of, at the full budget; a smaller one has the same share of fewer pixels."""
    ohem: list[Any] = []
    for budget in ("full", "small"):
        stage = stage_of("acf-r101", budget, acf_hard_examples=reading)
        ohem.append(Options.model_validate(stage.method.options).ohem)
    assert ohem[0] == ohem[1] and ohem[0].threshold == 0.7 and ohem[0].on == "main"
    assert round(ohem[0].min_share * images * 769 * 769) == 100_000
    assert (ohem[0].images_per_group or 8) == images


def test_losses_are_weighed_as_the_recipe_says() -> None:
    options = Options.model_validate(stage_of("acf-r101", "full").method.options)
    assert (options.ce_weight, options.aux_weight) == (0.7, {"aux": 0.4, "coarse": 0.6})
    assert Options.model_validate(stage_of("acf-r101", "full", acf_hard_examples="no").method.options).ohem is None
