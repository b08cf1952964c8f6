"""Networks that ask where rows lie in their picture: what they are told at evaluation, against loops by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, DataSpec, EvaluationSpec, InputSpec, OptimizerSpec, PadSpec, StageSpec
from segbench.engine import predict as module
from segbench.engine.optim import build_optimizer
from segbench.engine.predict import predict
from segbench.engine.runtime import Runtime
from segbench.methods.build import build_method
from segbench.models.segmentor import Segmentor, SegmentorOutput
from tests.engine.tiny import last, same, stage, stopped, train

INPUT = InputSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
RUNTIME = Runtime(workers=0)
CLASSES = 8


class Heights(Segmentor):
    """Class k's logit is high on rows whose place is k/8, and 0 wherever the image is brighter than a half."""

    wants_rows = True

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.num_classes, self.align_corners = CLASSES, False
        self.told: list[tuple[tuple[int, ...], Any]] = []

    def forward(self, images: torch.Tensor, rows: torch.Tensor | None = None) -> SegmentorOutput:
        assert rows is not None and rows.shape == (len(images), images.shape[-2]) and rows.dtype == torch.float32
        self.told.append((tuple(images.shape), rows.clone()))
        middles = torch.arange(CLASSES) / CLASSES
        logits = -((rows[:, None] - middles[:, None]) ** 2)[..., None].expand(-1, -1, -1, images.shape[-1])
        logits = logits * (images[:, :1] < 0.5)
        return SegmentorOutput(logits, (), logits, {})


def run(image: torch.Tensor, size: tuple[int, int] | None = None, **protocol: Any) -> tuple[Heights, np.ndarray]:
    net = Heights().eval()
    spec = EvaluationSpec(data=DataSpec(name="camvid"), **protocol)
    answer = predict(net, image, spec, input=INPUT, size=size or tuple(image.shape[-2:]), runtime=RUNTIME)  # type: ignore[arg-type]
    return net, answer[0].numpy()


def dark(height: int, width: int) -> torch.Tensor:
    return torch.zeros(1, 3, height, width, dtype=torch.uint8)


def test_a_whole_picture() -> None:
    net, answer = run(dark(48, 40))
    np.testing.assert_allclose(net.told[0][1], [[row / 48 for row in range(48)]], atol=1e-7)
    # Class k is nearest to row 6 k; halfway, three rows on, it is a tie, and the last class keeps the rest.
    by_hand = {row: min((row + 3) // 6, CLASSES - 1) for row in range(48) if row % 6 != 3}
    assert all((answer[row] == number).all() for row, number in by_hand.items())


@pytest.mark.parametrize("where", ["end", "both"])
def test_padding_lies_outside(where: str) -> None:
    net, _ = run(dark(50, 40), pad=PadSpec(multiple=16, where=where))
    (shape, rows), *_ = net.told
    assert shape == (1, 3, 64, 48)
    top = 7 if where == "both" else 0
    expected = [1.0] * top + [row / 50 for row in range(50)] + [1.0] * (14 - top)
    np.testing.assert_allclose(rows, [expected], atol=1e-7)


def test_scales_and_mirrors() -> None:
    net, _ = run(dark(40, 36), scales=(0.5, 1.0, 1.5), flip=True)
    assert [shape for shape, _ in net.told] == [(2, 3, 20, 18), (2, 3, 40, 36), (2, 3, 60, 54)]
    for (_, _, height, _), rows in net.told:
        np.testing.assert_allclose(rows, [[row / height for row in range(height)]] * 2, atol=1e-7)


@pytest.mark.parametrize("mirror", ["image", "window"])
@pytest.mark.parametrize("flip", [False, True])
def test_windows_are_told_their_part(mirror: str, flip: bool) -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (1, 3, 70, 50), dtype=np.uint8))
    net, answer = run(image, mode="slide", window=(32, 40), stride=(24, 40), flip=flip, mirror=mirror)
    tops, lefts = [0, 24, 38], [0, 10]  # the last ends at the border
    seen = [tuple(rows.tolist()) for _, batch in net.told for rows in batch]
    passes = 2 if flip else 1
    by_hand = [tuple(np.float32((top + np.arange(32)) / 70).tolist()) for top in tops for _ in lefts]
    assert len(seen) == passes * len(by_hand) and set(seen) == set(by_hand)
    # The answer, window by window and class by class.
    total, times = np.zeros((CLASSES, 70, 50)), np.zeros((70, 50))
    for top in tops:
        for left in lefts:
            for row in range(top, top + 32):
                for column in range(left, left + 40):
                    times[row, column] += 1
                    bright = image[0, 0, row, column].item() / 255 >= 0.5
                    for k in range(CLASSES):
                        total[k, row, column] += 0.0 if bright else -((row / 70 - k / CLASSES) ** 2)
    scores = np.sort(total / times, axis=0)
    clear = scores[-1] - scores[-2] > 1e-5
    assert clear.mean() > 0.4
    assert np.array_equal(answer[clear], total.argmax(0)[clear])


def test_one_image_after_the_other_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, expected = run(dark(40, 36), flip=True)
    forward = Heights.forward

    def small(self: Heights, images: torch.Tensor, rows: torch.Tensor | None = None) -> SegmentorOutput:
        if len(images) > 1:
            raise torch.OutOfMemoryError
        return forward(self, images, rows)

    monkeypatch.setattr(Heights, "forward", small)
    monkeypatch.setattr(module.torch.cuda, "empty_cache", lambda: None)
    net, answer = run(dark(40, 36), flip=True)
    assert len(net.told) == 2 * len(whole.told) and np.array_equal(answer, expected)


def test_others_are_not_told() -> None:
    class Plain(Heights):
        wants_rows = False

        def forward(self, images: torch.Tensor) -> SegmentorOutput:  # type: ignore[override]
            logits = images[:, :1].expand(-1, CLASSES, -1, -1)
            return SegmentorOutput(logits, (), logits, {})

    spec = EvaluationSpec(data=DataSpec(name="camvid"), mode="slide", window=(32, 32), pad=PadSpec(multiple=32))
    answer = predict(Plain().eval(), dark(40, 36), spec, input=INPUT, size=(40, 36), runtime=RUNTIME)
    assert answer.shape == (1, 40, 36)


# HANet in training: rows reach it from the loader, and a training that was stopped goes on as if it had not been.

HANET = {"channels": 8, "low_channels": 4, "aux_channels": 4, "rates": [2, 3], "reduction": 4}
RESNET = {"width": 0.0625, "blocks": [1, 1, 1, 1], "output_stride": 8}


def hanet_stage(**augmentation: Any) -> StageSpec:
    spec = stage(steps=5)
    stream = spec.streams["labelled"]
    augmentation = {**stream.augmentation.model_dump(), **augmentation}
    stream = stream.model_copy(update={"augmentation": type(stream.augmentation).model_validate(augmentation)})
    model = spec.model.model_copy(
        update={
            "backbone": Choice(name="resnet", options=RESNET),
            "decoder": Choice(name="hanet", options=HANET),
        }
    )
    return spec.model_copy(update={"streams": {"labelled": stream}, "model": model})


def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path) -> None:
    spec = hanet_stage(class_uniform={"share": 1.0, "tile": 24})
    train(spec, tmp_path / "whole")
    images = spec.streams["labelled"].data.images
    assert images is not None
    stopped(spec, tmp_path / "parts", 2, before=images)
    stopped(spec, tmp_path / "parts", 4, before=images)
    train(spec, tmp_path / "parts", workers=2)
    assert same(last(tmp_path / "whole"), last(tmp_path / "parts"))


def test_decisions_of_a_batch_lose_the_rows() -> None:
    wrong = hanet_stage(decisions="batch", jitter=None)
    with pytest.raises(InvalidFault, match=r"stream 'labelled': decoder hanet needs the places of a crop's rows"):
        build_method(wrong, num_classes=5)
    assert build_method(hanet_stage(), num_classes=5).segmentor.wants_rows


def test_weight_decay_of_the_units() -> None:
    method = build_method(hanet_stage(), num_classes=5)
    spec = OptimizerSpec(name="sgd", lr=0.1, weight_decay=5e-4, no_decay=("norm",))
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in build_optimizer(spec, method, fused=False).param_groups
        for parameter in group["params"]
    }
    assert decay.keys() == set(names.values())
    for name, found in decay.items():
        norm = ".norm." in name or ".bn" in name or ".downsample.1" in name
        expected = 0.0 if norm else 1e-4 if ".units." in name else 5e-4
        assert found == expected, name
    assert {*decay.values()} == {0.0, 1e-4, 5e-4}
    assert sum(".units." in name for name in decay) == 4 * 9
