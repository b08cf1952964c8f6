"""PSPNet's decoder against the written formula."""

import pytest
import torch
from torch import nn

from segbench.models.decoders.pspnet.network import build
from segbench.models.decoders.pspnet.options import Options
from tests.models.by_hand import Dilated, bilinear, close, conv, grid_means, randomised, unit


@pytest.mark.parametrize("bins", [(1, 2, 3, 6), (2, 3, 4, 6)])
@pytest.mark.parametrize("size", [(9, 11), (4, 5)])  # the second is smaller than the finest grid
@pytest.mark.parametrize("align_corners", [False, True])
def test_decoder_is_the_written_formula(bins: tuple[int, ...], size: tuple[int, int], align_corners: bool) -> None:
    torch.manual_seed(0)
    options = Options(bins=bins, channels=3)
    decoder = randomised(build(options, backbone=Dilated(), num_classes=4, align_corners=align_corners)).eval()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    maps = [x]
    for number, branch in zip(bins, decoder.pyramid.branches, strict=True):
        maps.append(bilinear(unit(grid_means(x, number), branch), size, align_corners=align_corners))
    expected = unit(torch.cat(maps, 1), decoder.conv)
    logits, embedding, aux, *_ = decoder((x,), (0, 0))
    close(embedding, expected)
    close(logits, conv(expected, decoder.classifier))
    assert aux == {}


def test_channels_are_dropped_and_the_rest_is_said_by_options() -> None:
    torch.manual_seed(0)
    options = Options(dropout=0.5, channels=16, lr_factor=10, bn_momentum=0.01, bn_eps=1e-3)
    decoder = build(options, backbone=Dilated(), num_classes=4, align_corners=True).train()
    dropped = (decoder((torch.randn(2, 8, 9, 9),), (0, 0))[1] == 0).flatten(2).all(-1)
    assert 0 < dropped.float().mean() < 1
    norms = [module for module in decoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 5 and {(norm.momentum, norm.eps) for norm in norms} == {(0.01, 1e-3)}
    assert decoder.lr_factor == 10
    assert build(Options(), backbone=Dilated(), num_classes=4, align_corners=True).lr_factor == 1
