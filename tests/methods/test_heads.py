import pytest
import torch
from torch import nn

from segbench.core.errors import InvalidFault
from segbench.methods.heads import ProjectionHead, ProjectionHeads

HRNET_W48 = (48, 96, 192, 384)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_on_hrnet_w48():
    """70,389,184 - 70,006,560 parameters, the difference that the publication prints as 0.38 M."""
    heads = ProjectionHeads(HRNET_W48, (1, 2, 3, 4))
    assert [count(head) for head in heads.heads.values()] == [14_944, 34_240, 86_656, 246_784]
    assert count(heads) == 382_624


def test_order_of_the_layers():
    head = ProjectionHead(8, 16)
    assert [type(layer) for layer in head.layers] == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d, nn.Conv2d]
    assert head.layers[0].bias is None
    assert head.layers[2].momentum == 0.0003


def test_only_the_asked_layers():
    layers = [torch.randn(2, c, 4, 4) for c in (3, 5, 7)]
    got = ProjectionHeads((3, 5, 7), (3, 1, 3), dim=6)(layers)
    assert {layer: values.shape for layer, values in got.items()} == {1: (2, 6, 4, 4), 3: (2, 6, 4, 4)}


@pytest.mark.parametrize("enabled", [False, True])
def test_unit_vectors_are_float32_even_under_autocast(enabled):
    head = ProjectionHead(3, 6, normalise=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        got = head(torch.randn(2, 3, 4, 4))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.norm(dim=1), torch.ones(2, 4, 4))


@pytest.mark.parametrize("layer", [0, 5])
def test_refuses_layers_that_do_not_exist(layer):
    with pytest.raises(InvalidFault, match="layers 1 to 4"):
        ProjectionHeads(HRNET_W48, (1, layer))


def test_nothing_reaches_every_parameter():
    heads = ProjectionHeads((3, 5), (1, 2))
    zero = heads.zero()
    zero.backward()
    assert zero.item() == 0
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in heads.parameters())
