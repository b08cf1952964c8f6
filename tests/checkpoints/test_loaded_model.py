"""Loaded models: their preprocessing, the same tensors under other conventions, and ids that tell them apart."""

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
from segbench.engine.predict import predict
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
    loaded = open_weights(path)
    turned = adjusted(loaded, Convention(align_corners=True))
    assert turned.align_corners and not loaded.align_corners
    own, other = loaded.segmentor.state_dict(), turned.segmentor.state_dict()
    assert own.keys() == other.keys()
    assert all(own[name].data_ptr() == other[name].data_ptr() for name in own), "nothing is held twice"
    assert not any(tensor.is_meta for tensor in (*turned.segmentor.parameters(), *turned.segmentor.buffers()))
    anew = build_segmentor(model.model_copy(update={"align_corners": True}), num_classes=len(CLASSES)).eval()
    anew.load_state_dict(load_weights(path)[1])
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        found, expected, before = (net(image).logits for net in (turned.segmentor, anew, loaded.segmentor))
    assert torch.equal(found, expected)
    assert not torch.equal(found, before)
    assert not turned.segmentor.training


def test_identities(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "x.safetensors", TINY)
    loaded = open_weights(path)
    assert loaded.identity == loaded.sha256 and loaded.matched[0] == loaded.matched[1]
    assert loaded.protocol == {"window": (48, 64)}
    conventions = [Convention("bgr"), Convention(mean="half", std="half"), Convention(align_corners=True),
                   Convention("bgr", align_corners=True)]  # fmt: skip
    changed = [adjusted(loaded, each) for each in conventions]
    assert len({loaded.identity, *(each.identity for each in changed)}) == 5
    assert adjusted(loaded, Convention()) is loaded
    back = adjusted(changed[3], Convention("rgb", align_corners=False))
    assert back.identity == loaded.identity


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


@pytest.mark.parametrize("input", [InputSpec(), InputSpec(channels="bgr", mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))])
def test_preprocessing_and_logits_are_those_of_the_evaluation(input: InputSpec, tmp_path: Path) -> None:
    path, network = saved(tmp_path / "x.safetensors", TINY.model_copy(update={"input": input}))
    loaded = open_weights(path)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    images = loaded.preprocess(pixels)
    colours = pixels[..., ::-1] if input.channels == "bgr" else pixels
    expected = (colours / 255 - np.array(input.mean)) / np.array(input.std)
    assert images.shape == (1, 3, 40, 56) and images.dtype == torch.float32
    np.testing.assert_allclose(images[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)
    logits = loaded(images)
    assert logits.shape == (1, len(CLASSES), 40, 56) and not logits.requires_grad
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    (labels,) = predict(network, image, EvaluationSpec(data=DATA), input=input, size=(40, 56), runtime=Runtime())
    assert torch.equal(logits[0].argmax(0).to(labels.dtype), labels)
