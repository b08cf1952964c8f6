"""MMSegmentation itself, where it is installed: its transformers answer as segbench does with the same weights."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks.mmsegmentation import TRANSFORMERS, difference, opened, published_network, written_back

pytestmark = pytest.mark.peers
pytest.importorskip("mmseg")


@pytest.mark.parametrize("configuration", TRANSFORMERS)
def test_the_same_answer_and_the_same_file_back(configuration: str) -> None:
    theirs = published_network(configuration)
    ours = opened(theirs)
    assert ours.report.faults == []
    assert all(name.endswith(".relative_position_index") for name in ours.report.dropped)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.segmentor.parameters())
    for size in TRANSFORMERS[configuration]:
        assert difference(theirs, ours, size) <= 1e-4
    assert written_back(theirs, ours)


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """Our own SegFormers and UPerNets, by their paths: MMSegmentation installs a package called ``tests``, too."""
    found = []
    for name in ("mmseg_like", "segformer_like", "upernet_like"):
        path = Path(__file__).parents[1] / f"models/foreign/{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setitem(sys.modules, f"tests.checkpoints.families.{name}", module)
        found.append(module)
    return found[1], found[2]


@pytest.mark.parametrize("configuration", TRANSFORMERS)
def test_the_layouts_that_other_tests_generate_are_the_real_ones(
    configuration: str, layouts: tuple[ModuleType, ModuleType]
) -> None:
    mit_like, swin_like = layouts
    size = configuration.partition("mit-b")[2][:1]
    classes = 150 if "ade20k" in configuration else 19
    with torch.device("meta"):
        if size:
            network = mit_like.segformer(mit_like.OpenMiT(*mit_like.MIT[f"B{size}"]), classes)
        else:
            small = "swin-tiny" in configuration
            encoder = swin_like.OpenSwin(*swin_like.SWIN["T" if small else "B"], window=7 if small else 12)
            network = swin_like.upernet(encoder, classes)
    ours = network.state_dict()
    theirs = published_network(configuration).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}
    indices = {name: t for name, t in theirs.items() if name.endswith("relative_position_index")}
    assert all(torch.equal(swin_like.differences(round(t.shape[0] ** 0.5)), t) for t in indices.values())
