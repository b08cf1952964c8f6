"""Training images shown before an evaluation: which, how, and that resumed trainings and scored files do not differ."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import segbench.engine.train as engine
from segbench.checkpoints import training_state, weights_file
from segbench.checkpoints.weights_file import build_from_weights
from segbench.core.errors import Interrupted, InvalidFault, RunFault
from segbench.core.progress import SILENT, Observer, Progress
from segbench.core.spec import Choice, DataSpec, EvaluationSpec, InputSpec, ModelSpec, StageSpec, StreamSpec
from segbench.data.open import open_dataset
from segbench.engine.evaluate import evaluate
from segbench.engine.folder import BEST, LAST, STATE, read_summary
from segbench.engine.gathering import gather
from segbench.engine.runtime import Runtime
from segbench.methods.base import Gatherer, Method
from segbench.methods.segsort.method import build
from segbench.methods.segsort.options import Options
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.engine.conftest import Straight
from tests.engine.test_evaluate import resized
from tests.engine.tiny import DATA, after, last, same, stage, stopped, train

RESNET = {"output_stride": 8, "width": 0.125, "blocks": [1, 1, 1, 1]}
DECODER = {
    "channels": 8,
    "embedding_dim": 4,
    "cluster_rounds": 2,
    "query_grid": [2, 2],
    "enlarged": "embedding",
    "neighbours": 3,
}
IMAGES = 5 + 5  # that are gathered from, and that are scored
INPUT = InputSpec(mean=(0.3, 0.0, 0.0), std=(0.5, 1.0, 1.0))
METHOD = {"cluster_grid": [2, 2], "bank_grid": [3, 3]}


def segsort(steps: int = 5, every: int | None = 2, **method: object) -> StageSpec:
    spec = stage(steps=steps, validate_every=every)
    model = ModelSpec(backbone=Choice(name="resnet", options=RESNET), decoder=Choice(name="segsort", options=DECODER))
    return spec.model_copy(update={"model": model, "method": Choice(name="segsort", options={**METHOD, **method})})


def interrupted(spec: StageSpec, folder: Path, calls: int, step: int) -> dict[str, Any]:
    """Train until ``stop`` has been asked so often: after every step, and before every image of both kinds."""
    with pytest.raises(Interrupted):
        train(spec, folder, stop=after(calls))
    state = training_state.load_state(folder / STATE)
    assert state is not None and state["step"] == step
    return state


def test_stopped_and_resumed_equals_straight_through(tmp_path: Path, straight: Straight) -> None:
    """The memory of prototypes is part of the state, and so is the bank."""
    spec = segsort()
    for calls, step in ((1, 1), (1 + IMAGES + 1, 3), (1, 4)):
        state = interrupted(spec, tmp_path / "parts", calls, step)
    assert len(state["method"]["memory.vectors"]) and len(state["method"]["segmentor.decoder.bank"])
    train(spec, tmp_path / "parts")
    tensors = last(straight(spec))
    assert same(last(tmp_path / "parts"), tensors)
    assert len(tensors["decoder.bank"]) == len(tensors["decoder.bank_labels"]) > 5


def test_without_its_memory_a_resumed_training_would_differ(tmp_path: Path, straight: Straight) -> None:
    spec = segsort()
    state = interrupted(spec, tmp_path / "parts", 2 + IMAGES + 1, 3)
    for name in ("vectors", "classes", "ages"):
        key = f"memory.{name}"
        state["method"][key] = state["method"][key][:0]
    training_state.save_state(tmp_path / "parts" / STATE, state)
    train(spec, tmp_path / "parts")
    assert not same(last(tmp_path / "parts"), last(straight(spec)))


def test_scores_of_the_files_are_those_recorded(straight: Straight) -> None:
    folder = straight(segsort())
    summary = read_summary(folder)
    assert summary is not None
    images = open_dataset(DATA.model_copy(update={"splits": ("val",)}))
    for name, recorded in ((BEST, summary.best), (LAST, summary.last)):
        network, header = build_from_weights(folder / name)
        result = evaluate(network, images, EvaluationSpec(data=DATA), input=header.model.input, runtime=Runtime())
        assert recorded is not None
        assert recorded == {"step": header.step, "miou": result.figures(absent="exclude")["miou"]}


def test_in_half_precision_too(tmp_path: Path) -> None:
    runtime = Runtime(precision="bfloat16", channels_last=True, deterministic=True)
    summary = train(segsort(steps=2), tmp_path, runtime=runtime)
    network, header = build_from_weights(tmp_path / LAST)
    bank = network.decoder.bank
    assert bank.dtype == torch.float32
    torch.testing.assert_close(bank.norm(dim=1), torch.ones(len(bank)))
    images = open_dataset(DATA.model_copy(update={"splits": ("val",)}))
    spec = EvaluationSpec(data=DATA)
    result = evaluate(runtime.place(network), images, spec, input=header.model.input, runtime=runtime)
    assert summary.last == {"step": 2, "miou": result.figures(absent="exclude")["miou"]}


def test_the_bank_is_that_of_the_last_weights(tmp_path: Path) -> None:
    """Gathered once more with the weights of the file, nothing changes; there are the same without any validation."""
    spec = segsort(steps=3)
    train(spec, tmp_path / "validated")
    train(segsort(steps=3, every=None), tmp_path / "plain")
    assert same(last(tmp_path / "plain"), last(tmp_path / "validated"))
    network, _ = build_from_weights(tmp_path / "plain" / LAST)
    method = method_around(network, spec)
    bank, labels = network.decoder.bank, network.decoder.bank_labels
    network.decoder.fill(bank[:1] * 0, labels[:1])
    shown(method, spec)
    assert torch.equal(network.decoder.bank, bank) and torch.equal(network.decoder.bank_labels, labels)


def method_around(network: Segmentor, spec: StageSpec) -> Method:
    return build(Options(**spec.method.options), network, num_classes=network.num_classes, seed=0)


def shown(method: Method, spec: StageSpec, **more: object) -> None:
    stream = spec.streams["labelled"]
    given = {"input": InputSpec(), "runtime": Runtime(), "observer": SILENT, **more}
    gather(method, open_dataset(stream.data), stream, **given)


class Watches(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def report(self, progress: Progress) -> None:
        self.seen.append((progress.phase, progress.done, progress.total))


def test_progress_is_told_and_a_stop_is_heard(tmp_path: Path) -> None:
    """Stopped among the training images after the second step, it goes on to the same weights."""
    spec, observer = segsort(), Watches()
    train(spec, tmp_path / "straight", observer=observer)
    gathered = [entry for entry in observer.seen if entry[0] == "gather"]
    assert gathered == [("gather", done, 5) for done in range(1, 6)] * 3
    with pytest.raises(Interrupted, match="step 2, before its validation"):
        train(spec, tmp_path / "parts", stop=after(5))  # asked after two steps and before three images
    state = training_state.load_state(tmp_path / "parts" / STATE)
    assert state is not None and state["step"] == 2 and not state["curve"]
    assert len(state["method"]["segmentor.decoder.bank"]) == 0, "half a bank is none"
    train(spec, tmp_path / "parts")
    assert same(last(tmp_path / "parts"), last(tmp_path / "straight"))


def test_scored_before_anything_is_gathered(tmp_path: Path) -> None:
    """A stage that starts from others takes their bank; weights without one are refused in one line."""
    torch.manual_seed(0)
    state = stopped(segsort(every=None), tmp_path, 1)
    assert len(state["method"]["segmentor.decoder.bank"]) == 0
    train(segsort(every=None), tmp_path)
    network, header = build_from_weights(tmp_path / LAST)
    network.decoder.fill(network.decoder.bank[:0], network.decoder.bank_labels[:0])
    weights_file.save_weights(tmp_path / "empty.safetensors", network, header)
    network, _ = build_from_weights(tmp_path / "empty.safetensors")
    images = open_dataset(DATA.model_copy(update={"splits": ("val",)}))
    with pytest.raises(InvalidFault, match="no prototypes yet") as caught:
        evaluate(network, images, EvaluationSpec(data=DATA), input=header.model.input, runtime=Runtime())
    assert len(caught.value.faults) == 1


class Records(Gatherer):
    """Keeps everything; its embedding is the mean of 4 x 4 pixels of the red channel."""

    def __init__(self, images: int | None = None) -> None:
        self.images = images
        self.windows: list[Tensor] = []
        self.added: list[tuple[Tensor, Tensor]] = []
        self.finished = 0

    def embed(self, images: Tensor) -> Tensor:
        self.windows += images.unbind()
        return nn.functional.avg_pool2d(images[:, :1], 4)

    def add(self, embedding: Tensor, target: Tensor) -> None:
        self.added.append((embedding, target))

    def finish(self) -> None:
        self.finished += 1


class Few:
    """Pictures of vertical stripes 8 wide, each in a colour of its own."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.classes = open_dataset(DATA).classes
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> str:
        return f"train/{index}"

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        height, width = self.size
        stripes = (np.arange(width) // 8 * 20 + index + 1).astype(np.uint8)
        image = np.broadcast_to(stripes[None, :, None], (height, width, 3)).copy()
        return image, np.full(self.size, index, np.uint8)

    def instances(self, index: int) -> None:
        return None


def showing(gatherer: Gatherer | None, images: Few, crop: tuple[int, int]) -> Method:
    class Asks(Method):
        def forward(self, batches: object, info: object) -> dict[str, Tensor]:
            return {}

        def gatherer(self) -> Gatherer | None:
            return gatherer

    spec = segsort()
    method = Asks(build_segmentor(spec.model, num_classes=11), seed=0)
    gather(
        method,
        images,
        StreamSpec(data=DataSpec(name="camvid"), crop=crop, batch_total=2),
        input=INPUT,
        runtime=Runtime(),
        observer=SILENT,
    )
    return method


def test_windows_cover_whole_pictures_and_are_added() -> None:
    """Of 40 x 88 windows of 32 x 48 begin at rows 0 and 8 and, no more than 32 apart, at columns 0, 20 and 40."""
    gatherer = Records()
    showing(gatherer, Few(2, (40, 88)), (32, 48))
    assert gatherer.finished == 1 and len(gatherer.added) == 2
    assert len(gatherer.windows) == 2 * 6 and {window.shape for window in gatherer.windows} == {(3, 32, 48)}
    for index, (total, target) in enumerate(gatherer.added):
        assert total.shape == (1, 1, 40, 88) and target.unique().tolist() == [index]
        times = torch.zeros(40, 88)
        for top in (0, 8):
            for left in (0, 20, 40):
                times[top : top + 32, left : left + 48] += 1
        stripes = ((torch.arange(88) // 8 * 20 + index + 1) / 255 - INPUT.mean[0]) / INPUT.std[0]
        # Bilinear weights are 1 in the middle of a stripe, four rows and columns from the border of a cell of 4.
        middle = slice(3, 88, 8)
        inner = total[0, 0, 6:34, middle] / (times * stripes)[6:34, middle]
        torch.testing.assert_close(inner, torch.ones_like(inner))


def gathered_slowly(image: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    """(H, W) in float64, window by window as SegSort's released script places and pads them: ends are spread."""
    height, width = image.shape[:2]
    full = np.zeros((max(height, crop[0]), max(width, crop[1])))
    full[:height, :width] = (image[..., 0] / 255 - INPUT.mean[0]) / INPUT.std[0]
    total = np.zeros(full.shape)
    ends = (
        np.linspace(window, side, math.ceil((side - window) / math.ceil(window * 2 / 3)) + 1, dtype=np.int32)
        for side, window in zip(full.shape, crop, strict=True)
    )
    for bottom, right in itertools.product(*ends):
        part = full[bottom - crop[0] : bottom, right - crop[1] : right]
        cells = np.array(
            [[part[y : y + 4, x : x + 4].mean() for x in range(0, crop[1] - 3, 4)] for y in range(0, crop[0] - 3, 4)]
        )
        total[bottom - crop[0] : bottom, right - crop[1] : right] += resized(cells[None], crop)[0]
    return total[:height, :width]


@pytest.mark.parametrize("size", [(29, 43), (32, 48), (24, 40), (23, 97), (71, 31), (55, 101)])
def test_what_is_gathered_equals_the_loop(size: tuple[int, int]) -> None:
    """Pictures smaller than a window on one side or both, as large as one, and larger; crops of even and odd sides."""

    class Noise(Few):
        def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rng = np.random.default_rng(index)
            return rng.integers(0, 256, (*self.size, 3), dtype=np.uint8), np.full(self.size, index, np.uint8)

    pictures = Noise(2, size)
    for crop in ((32, 48), (29, 43)):
        gatherer = Records()
        showing(gatherer, pictures, crop)
        assert {window.shape[1:] for window in gatherer.windows} == {crop}
        for index, (total, target) in enumerate(gatherer.added):
            assert target.shape == (1, *size)
            expected = gathered_slowly(pictures.read(index)[0], crop)
            np.testing.assert_allclose(total[0, 0].double().numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("wanted", "expected"), [(None, range(7)), (7, range(7)), (100, range(7)), (3, (0, 2, 4, 6))])
def test_some_images_are_spread_evenly(wanted: int | None, expected: range) -> None:
    gatherer = Records(wanted)
    showing(gatherer, Few(7, (32, 48)), (32, 48))
    assert [int(target[0, 0, 0]) for _, target in gatherer.added] == list(expected)


def test_the_network_rests_meanwhile_and_then_trains_on() -> None:
    class Looks(Records):
        def add(self, embedding: Tensor, target: Tensor) -> None:
            assert not method_of.training and not torch.is_grad_enabled()

    spec = segsort()
    method_of = build_segmentor(spec.model, num_classes=11)

    class Asks(Method):
        def forward(self, batches: object, info: object) -> dict[str, Tensor]:
            return {}

        def gatherer(self) -> Gatherer:
            return Looks()

    shown(Asks(method_of, seed=0).train(), spec)
    assert method_of.training


def test_methods_that_need_nothing_read_nothing() -> None:
    class Unread(Few):
        def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            raise AssertionError("nobody asked for it")

    showing(None, Unread(2, (32, 48)), (32, 48))


def test_pictures_without_labels_are_a_fault_that_keeps_the_steps(tmp_path: Path, monkeypatch) -> None:
    """Nothing that was trained is lost, and there is one line to read."""

    def nothing(*_: object, **__: object) -> None:
        raise RunFault("No pixel of the training images is labelled.")

    monkeypatch.setattr(engine, "gather", nothing)
    with pytest.raises(RunFault, match="No pixel"):
        train(segsort(), tmp_path)
    state = training_state.load_state(tmp_path / STATE)
    assert state is not None and state["step"] == 2
