"""``segbench weights convert`` with networks that torchvision itself makes and loads."""

from pathlib import Path

import pytest
import torch
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

from segbench.checkpoints.convert import targets
from segbench.cli.weights.convert import FORMS
from tests.program import segbench


def test_there_and_back_torchvision_loads_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    theirs = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).eval()
    torch.save(theirs.state_dict(), "voc.pth")
    done = segbench("weights", "convert", "voc.pth", "--to", "segbench")
    assert done.code == 0, done.err
    assert "(torchvision), 21 classes of voc2012" in done.out
    done = segbench("weights", "convert", "voc-segbench.safetensors", "--to", "torchvision", "--output", "back.pth")
    assert done.code == 0, done.err
    back = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21, aux_loss=False).eval()
    back.load_state_dict(torch.load("back.pth", weights_only=True))
    image = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        # Its auxiliary head reads the middle of a stage, which no layer of ours is: it is left out, and said to be.
        assert torch.equal(theirs(image)["out"], back(image)["out"])


def test_a_network_that_torchvision_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segbench.data.classes import class_table
    from tests.networks import write_weights

    monkeypatch.chdir(tmp_path)
    own = write_weights(tmp_path / "own.safetensors", class_table("camvid").names, "camvid")
    assert "torchvision has no concat on hrnetv2" in segbench("weights", "convert", own, "--to", "torchvision").fails(4)
    assert [path.name for path in tmp_path.iterdir()] == ["own.safetensors"]


def test_the_help_names_every_form() -> None:
    words = FORMS.removesuffix(".").replace(" or ", ", ").split(", ")
    assert sorted(words) == sorted(targets())
