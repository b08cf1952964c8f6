"""Scheduled drop path: keep = 1 - progress * p, for each image, divided by keep."""

import math

import pytest
import torch
from torch import nn

from segbench.models.backbones.drop_path import ScheduledDropPath
from segbench.models.scheduled import tell_progress

IMAGES = 4000


def dropping(probability: float, share: float) -> ScheduledDropPath:
    torch.manual_seed(0)
    module = ScheduledDropPath(probability).train()
    tell_progress(module, share)
    return module


@pytest.mark.parametrize(("share", "keep"), [(0.25, 0.9), (0.5, 0.8), (1.0, 0.6)])
def test_images_are_kept_as_the_schedule_says(share: float, keep: float) -> None:
    out = dropping(0.4, share)(torch.ones(IMAGES, 2, 1, 3))
    images = out.flatten(1)
    assert (images == images[:, :1]).all(), "an image is kept or dropped as a whole"
    kept = images[:, 0] != 0
    deviation = math.sqrt(keep * (1 - keep) / IMAGES)
    assert abs(kept.double().mean() - keep) < 4 * deviation
    torch.testing.assert_close(images[kept], torch.full_like(images[kept], 1 / keep))
    assert abs(images.mean() - 1) < 4 * deviation / keep, "its expectation stays"


def test_at_the_first_step_nothing_is_dropped() -> None:
    x = torch.randn(IMAGES, 1, 1, 1)
    assert torch.equal(dropping(0.99, 0.0)(x), x)


def test_draws_are_anew_each_time() -> None:
    module, x = dropping(0.5, 1.0), torch.ones(64, 1, 1, 1)
    assert not torch.equal(module(x), module(x))


def test_evaluation_drops_nothing() -> None:
    x = torch.randn(8, 2, 3, 3)
    assert dropping(0.9, 1.0).eval()(x) is x


def test_the_gradient_is_that_of_what_was_kept() -> None:
    x = torch.ones(64, 2, 2, 2, requires_grad=True)
    out = dropping(0.5, 1.0)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())
    assert set(x.grad.unique().tolist()) == {0.0, 2.0}


def test_half_precision_stays() -> None:
    out = dropping(0.5, 0.5)(torch.ones(64, 1, 2, 2, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16
    assert out.max().item() == pytest.approx(1 / 0.75, rel=0.01)


def test_every_part_is_told_in_place() -> None:
    network = nn.Sequential(ScheduledDropPath(0.5), nn.Sequential(nn.ReLU(), ScheduledDropPath(0.1)))
    told = [buffer for name, buffer in network.named_buffers() if name.endswith("progress")]
    tell_progress(network, 0.75)
    assert [buffer.item() for buffer in told] == [0.75, 0.75]
    assert network.state_dict() == {}
