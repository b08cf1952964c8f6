"""MMSegmentation itself, where it is installed: its networks answer as segbench does with the same weights."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks.mmsegmentation import NETWORKS, bare_network, difference, opened, published_network, written_back

pytestmark = pytest.mark.peers
pytest.importorskip("mmseg")


@pytest.mark.parametrize("configuration", NETWORKS)
def test_the_same_answer_and_the_same_file_back(configuration: str) -> None:
    theirs = published_network(configuration)
    ours = opened(theirs)
    assert ours.report.faults == [] and ours.report.dropped == ()
    for size in NETWORKS[configuration]:
        assert difference(theirs, ours, size) <= 1e-4
    assert written_back(theirs, ours)


@pytest.fixture(scope="module")
def like() -> ModuleType:
    """Our own layouts, by their path: MMSegmentation installs a package called ``tests``, too."""
    path = Path(__file__).parents[1] / "models/foreign/mmseg_like.py"
    spec = importlib.util.spec_from_file_location("mmseg_like", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_layouts_that_other_tests_generate_are_the_real_ones(like: ModuleType) -> None:
    generated = {
        "pspnet/pspnet_r101-d8_4xb4-160k_ade20k-512x512": lambda: like.pspnet(like.ResNet(like.DEPTHS[101]), 150),
        "deeplabv3/deeplabv3_r50-d8_4xb2-80k_cityscapes-512x1024": lambda: like.deeplabv3(
            like.ResNet(like.DEPTHS[50]), 19
        ),
        "deeplabv3plus/deeplabv3plus_r50b-d8_4xb2-80k_cityscapes-512x1024": lambda: like.deeplabv3plus(
            like.ResNet(like.DEPTHS[50], deep=False), 19
        ),
        "mobilenet_v2/mobilenet-v2-d8_deeplabv3_4xb2-80k_cityscapes-512x1024": lambda: like.deeplabv3(
            like.MobileNetV2(), 19
        ),
        "hrnet/fcn_hr18s_4xb2-160k_cityscapes-512x1024": lambda: like.fcn_hrnet(like.hrnet("hrnet_w18_small_v2"), 19),
        "ocrnet/ocrnet_hr48_4xb2-160k_cityscapes-512x1024": lambda: like.ocrnet_hrnet(like.hrnet("hrnet_w48"), 19),
        "ocrnet/ocrnet_r101-d8_8xb2-80k_cityscapes-512x1024": lambda: like.ocrnet(like.ResNet(like.DEPTHS[101]), 19),
    }
    for configuration, build in generated.items():
        with torch.device("meta"):
            ours, theirs = build(), bare_network(configuration)
        shapes = [{name: tensor.shape for name, tensor in each.state_dict().items()} for each in (ours, theirs)]
        assert shapes[0] == shapes[1], configuration
