"""Our counts against the tools themselves. Needs thop, fvcore, ptflops and mmengine:

python -m pip install thop fvcore ptflops mmengine
python -m pytest -m peers tests/peers/test_cost_tools.py
"""

import pytest
import torch
from torch import nn
from torchvision.models import segmentation

from segbench.metrics.conventions import count_conventions
from segbench.models.segmentor import build_segmentor
from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request, resolve
from tests.metrics.test_conventions import Small

pytestmark = pytest.mark.peers
ROWS = ["contextrast-main-table1/hrnet", "contextrast-main-table1/deeplabv3", "contextrast-main-table1/ocrnet"]


class Logits(nn.Module):
    """Network with one output, as both tools want it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.network(images)
        return found["out"] if isinstance(found, dict) else getattr(found, "logits", found)


def networks():
    yield "small", Small(), (6, 4)
    for name in ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"):
        aux = {} if name.startswith("lraspp") else {"aux_loss": False}
        yield name, getattr(segmentation, name)(weights=None, weights_backbone=None, **aux), (128, 192)
    for target in ROWS:
        training = resolve(default_catalog(), *target.split("/"), "cityscapes", Request("smoke")).ran.training
        yield target, build_segmentor(training.stages[-1].model, num_classes=19), (64, 128)


NETWORKS = list(networks())


@pytest.mark.parametrize(("name", "network", "size"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_thop(name, network, size):
    thop = pytest.importorskip("thop")
    theirs, _ = thop.profile(Logits(network), inputs=(torch.randn(1, 3, *size),), verbose=False)
    assert count_conventions(Logits(network), size)["thop"] == theirs


@pytest.mark.parametrize(("name", "network", "size"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_fvcore(name, network, size):
    """It traces a network, and so leaves out what no output needs: auxiliary heads in evaluation."""
    nn_tools = pytest.importorskip("fvcore.nn")
    analysis = nn_tools.FlopCountAnalysis(Logits(network), torch.randn(1, 3, *size))
    theirs = analysis.unsupported_ops_warnings(False).total()
    # Of an einsum it halves a count of floats, which may be off by an operation or two.
    assert count_conventions(Logits(network), size)["fvcore"] == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(("name", "network", "size"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_mmengine(name, network, size):
    """Its counter is derived from fvcore's."""
    analysis = pytest.importorskip("mmengine.analysis")
    theirs = analysis.FlopAnalyzer(Logits(network), torch.randn(1, 3, *size)).unsupported_ops_warnings(False).total()
    assert count_conventions(Logits(network), size)["fvcore"] == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("backend", ["pytorch", "aten"])
@pytest.mark.parametrize(("name", "network", "size"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_ptflops(name, network, size, backend):
    tool = pytest.importorskip("ptflops")
    words = {"as_strings": False, "print_per_layer_stat": False, "backend": backend}
    theirs, _ = tool.get_model_complexity_info(Logits(network), (3, *size), **words)
    ours = count_conventions(Logits(network), size)
    assert ours["ptflops" if backend == "pytorch" else "ptflops-aten"] == theirs
