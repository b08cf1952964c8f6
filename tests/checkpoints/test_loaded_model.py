"""Networks under test: the same tensors under other conventions, and ids that tell them apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segbench.checkpoints.conventions import Convention
from segbench.checkpoints.loaded_model import adjusted, open_weights
from segbench.checkpoints.weights_file import WeightsHeader, load_weights, save_weights
from segbench.core import registry
from segbench.core.spec import Choice, DataSpec, EvaluationSpec, InputSpec, ModelSpec
from segbench.engine.evaluate import Trial, evaluate, evaluate_all
from segbench.engine.runtime import Runtime
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.engine.test_evaluate import Pictures
from tests.networks import TINY

DATA = DataSpec(name="camvid")
CLASSES = tuple("abcde")


def saved(path: Path, model: ModelSpec) -> tuple[Path, Segmentor]:
    torch.manual_seed(0)
    network = build_segmentor(model, num_classes=len(CLASSES)).eval()
    save_weights(path, network, WeightsHeader(model, CLASSES, "camvid", crop=(48, 64)))
    return path, network


# Networks in which a bilinear step inside depends on the corners, and one with tensors that are not saved.
INSIDE = [
    TINY,
    *(
        ModelSpec(backbone=Choice(name=backbone, options=options), decoder=Choice(name=decoder))
        for backbone, options, decoder in (
            ("mobilenetv2", {}, "deeplabv3plus"),
            ("swin", {"depths": [1, 1, 1, 1], "embed": 24}, "upernet"),
        )
        if registry.is_registered("backbone", backbone) and registry.is_registered("decoder", decoder)
    ),
]


@pytest.mark.parametrize("model", INSIDE, ids=[f"{each.backbone.name}-{each.decoder.name}" for each in INSIDE])
def test_other_corners_on_the_same_tensors(model: ModelSpec, tmp_path: Path) -> None:
    """Equal to a network that was built with them and loaded anew."""
    path, _ = saved(tmp_path / "x.safetensors", model)
    subject = open_weights(path)
    turned = adjusted(subject, Convention(align_corners=True))
    assert turned.align_corners and not subject.align_corners
    own, other = subject.segmentor.state_dict(), turned.segmentor.state_dict()
    assert own.keys() == other.keys()
    assert all(own[name].data_ptr() == other[name].data_ptr() for name in own), "nothing is held twice"
    assert not any(tensor.is_meta for tensor in (*turned.segmentor.parameters(), *turned.segmentor.buffers()))
    anew = build_segmentor(model.model_copy(update={"align_corners": True}), num_classes=len(CLASSES)).eval()
    anew.load_state_dict(load_weights(path)[1])
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        found, expected, before = (net(image).logits for net in (turned.segmentor, anew, subject.segmentor))
    assert torch.equal(found, expected)
    assert not torch.equal(found, before)
    assert not turned.segmentor.training


def test_identities(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "x.safetensors", TINY)
    subject = open_weights(path)
    assert subject.identity == subject.sha256 and subject.matched[0] == subject.matched[1]
    assert subject.protocol == {"window": (48, 64)}
    conventions = [Convention("bgr"), Convention(mean="half", std="half"), Convention(align_corners=True),
                   Convention("bgr", align_corners=True)]  # fmt: skip
    changed = [adjusted(subject, each) for each in conventions]
    assert len({subject.identity, *(each.identity for each in changed)}) == 5
    assert adjusted(subject, Convention()) is subject
    back = adjusted(changed[3], Convention("rgb", align_corners=False))
    assert back.identity == subject.identity


def test_several_ways_are_what_each_is_alone(tmp_path: Path) -> None:
    _, network = saved(tmp_path / "x.safetensors", TINY)
    pictures = Pictures([(40, 56), (64, 48), (33, 47)])
    specs = [EvaluationSpec(data=DATA), EvaluationSpec(data=DATA, flip=True), EvaluationSpec(data=DATA, scales=(0.5,))]
    inputs = [InputSpec(), InputSpec(channels="bgr"), InputSpec(mean=(0.5,) * 3, std=(0.5,) * 3)]
    read: list[int] = []

    class Watched(Pictures):
        def read(self, index: int) -> tuple[Any, Any]:
            read.append(index)
            return super().read(index)

    trials = [Trial(network, spec, input) for spec, input in zip(specs, inputs, strict=True)]
    images = Watched([(40, 56), (64, 48), (33, 47)])
    together = evaluate_all(trials, images, runtime=Runtime())
    assert read == [0, 1, 2]
    for trial, found in zip(trials, together, strict=True):
        alone = evaluate(trial.segmentor, pictures, trial.spec, input=trial.input, runtime=Runtime())
        assert np.array_equal(found.matrix, alone.matrix) and found.keys == alone.keys
        assert found.seconds_per_image > 0
    assert len({found.matrix.tobytes() for found in together}) == 3
