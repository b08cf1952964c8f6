"""Scoring against slow loops written from the definitions, in float64 and with resampling of their own."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.special import logsumexp
from torch import Tensor, nn

from segbench.core.errors import Interrupted, MissingFault
from segbench.core.progress import Observer, Progress
from segbench.core.spec import DataSpec, EvaluationSpec, InputSpec
from segbench.data.open import open_dataset
from segbench.engine import evaluate as module
from segbench.engine.evaluate import Evaluation, evaluate
from segbench.engine.runtime import Runtime
from segbench.models.segmentor import Segmentor, SegmentorOutput, build_segmentor
from tests.data.camvid_tree import places, write_tree
from tests.engine.tiny import CLASSES, model

Array = NDArray[Any]
NUMBER = 5  # of classes
INPUT = InputSpec()
DATA = DataSpec(name="camvid", source="generated")


class Net(Segmentor):
    """Averages 4x4 pixels, then a 3x3 convolution with a border: what a window cuts off changes what it sees."""

    def __init__(self, *, align_corners: bool = False, gain: float = 1.0) -> None:
        nn.Module.__init__(self)
        self.num_classes, self.align_corners, self.gain = NUMBER, align_corners, gain
        self.conv = nn.Conv2d(3, NUMBER, 3, padding=1)

    def forward(self, images: Tensor) -> SegmentorOutput:
        logits = self.gain * self.conv(nn.functional.avg_pool2d(images, 4, ceil_mode=True))
        return SegmentorOutput(logits, (), logits, {})


class Pictures:
    """Smooth noise with labels, a tenth ignored."""

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        rng = np.random.default_rng(0)
        self.samples = []
        for height, width in sizes:
            coarse = rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3))
            image = coarse.repeat(6, 0).repeat(6, 1)[:height, :width].astype(np.uint8)
            label = (image[..., 0] // 52).astype(np.uint8)
            label[rng.random(label.shape) < 0.1] = 255
            self.samples.append((image, label))

    def __len__(self) -> int:
        return len(self.samples)

    def key(self, index: int) -> str:
        return f"val/{index}"

    def read(self, index: int) -> tuple[Array, Array]:
        return self.samples[index]


@pytest.fixture
def net() -> Net:
    torch.manual_seed(1)
    return Net()


@pytest.fixture
def pictures() -> Pictures:
    return Pictures([(40, 56), (64, 48)])


def spec(**more: Any) -> EvaluationSpec:
    return EvaluationSpec(data=DATA, **more)


def run(net: Segmentor, images: Any, protocol: EvaluationSpec, **more: Any) -> Evaluation:
    settings: dict[str, Any] = {"input": INPUT, "runtime": Runtime(), **more}
    return evaluate(net, images, protocol, **settings)


# The slow way: everything below is numpy in float64, except the network itself.


def weights(before: int, after: int, *, align_corners: bool = False) -> Array:
    """Matrix (after, before) of linear resampling, without anti-aliasing."""
    matrix = np.zeros((after, before))
    for row in range(after):
        if align_corners:
            center = row * (before - 1) / (after - 1) if after > 1 else 0.0
        else:
            center = (row + 0.5) * before / after - 0.5
        first = math.floor(center)
        for column, weight in ((first, 1 - (center - first)), (first + 1, center - first)):
            matrix[row, min(max(column, 0), before - 1)] += weight
    return matrix


def resized(values: Array, size: tuple[int, int], **how: bool) -> Array:
    """(C, H, W) to (C, h, w)."""
    rows, columns = (weights(before, after, **how) for before, after in zip(values.shape[1:], size, strict=True))
    return np.einsum("hy,cyx,wx->chw", rows, values, columns)


def normalised(image: Array, input: InputSpec = INPUT) -> Array:
    planes = [image[..., channel] / 255 for channel in ((0, 1, 2) if input.channels == "rgb" else (2, 1, 0))]
    return np.stack([(p - m) / s for p, m, s in zip(planes, input.mean, input.std, strict=True)])


def logits_of(net: Net, view: Array) -> Array:
    with torch.no_grad():
        return net(torch.tensor(view[None].copy(), dtype=torch.float32)).logits[0].double().numpy()


def whole(net: Net, view: Array, size: tuple[int, int]) -> Array:
    return resized(logits_of(net, view), size, align_corners=net.align_corners)


def windows(length: int, window: int, stride: int) -> list[int]:
    """Every stride a window, until one reaches the end; that one is moved back to end there."""
    starts, start = [], 0
    while start + window < length:
        starts.append(start)
        start += stride
    return [*starts, max(0, length - window)]


def slid(net: Net, view: Array, size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> Array:
    _, height, width = view.shape
    total, times = np.zeros((NUMBER, height, width)), np.zeros((height, width))
    for top in windows(height, window[0], stride[0]):
        for left in windows(width, window[1], stride[1]):
            part = view[:, top : top + window[0], left : left + window[1]]
            total[:, top : top + window[0], left : left + window[1]] += whole(net, part, part.shape[1:])
            times[top : top + window[0], left : left + window[1]] += 1
    assert times.min() >= 1
    return resized(total / times, size, align_corners=net.align_corners)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def fused(views: list[Array], fuse: str) -> Array:
    """Scores of the classes."""
    return np.sum([softmax(view) if fuse == "probabilities" else view for view in views], 0)


def exponentials(net: Net, image: Array, protocol: EvaluationSpec, input: InputSpec) -> Array:
    """Logarithms of what HRNet's code adds up: views averaged and exponentiated at each scale's size, then resized."""
    size = image.shape[:2]
    found = []
    for scale in protocol.scales:
        small = (round(size[0] * scale), round(size[1] * scale))
        view = normalised(image, input) if scale == 1 else resized(normalised(image, input), small)
        views = [shown(net, view, small, protocol)]
        if protocol.flip:
            views.append(shown(net, view[..., ::-1], small, protocol)[..., ::-1])
        rows, columns = (weights(*pair, align_corners=net.align_corners) for pair in zip(small, size, strict=True))
        tall = logsumexp(np.mean(views, 0)[:, None], axis=2, b=rows[None, :, :, None])
        found.append(logsumexp(tall[:, :, None], axis=3, b=columns[None, None]))
    return np.asarray(logsumexp(found, axis=0))


def shown(net: Net, view: Array, size: tuple[int, int], protocol: EvaluationSpec) -> Array:
    if protocol.mode == "whole":
        return whole(net, view, size)
    assert protocol.window is not None
    return slid(net, view, size, protocol.window, protocol.stride or protocol.window)


def slow(net: Net, image: Array, protocol: EvaluationSpec, *, input: InputSpec = INPUT) -> Array:
    """Scores (C, h, w) by the definition of the protocol."""
    if protocol.fuse == "exp_logits":
        return exponentials(net, image, protocol, input)
    size = image.shape[:2]
    views = []
    for scale in protocol.scales:
        view = normalised(image, input)
        if scale != 1:
            view = resized(view, (round(size[0] * scale), round(size[1] * scale)))
        for flip in (False, True)[: 1 + protocol.flip]:
            turned = view[..., ::-1] if flip else view
            logits = shown(net, turned, size, protocol)
            views.append(logits[..., ::-1] if flip else logits)
    return fused(views, protocol.fuse)


def counted(labels: list[Array], predictions: list[Array]) -> Array:
    matrix = np.zeros((NUMBER, NUMBER), dtype=np.int64)
    for label, prediction in zip(labels, predictions, strict=True):
        for truth, guess in zip(label.ravel(), prediction.ravel(), strict=True):
            if truth != 255:
                matrix[truth, guess] += 1
    return matrix


def check(net: Net, images: Pictures, protocol: EvaluationSpec, *, input: InputSpec = INPUT) -> Evaluation:
    """Engine against slow loop; where two classes are all but equal, either may win."""
    result = run(net, images, protocol, input=input)
    scores = [slow(net, image, protocol, input=input) for image, _ in images.samples]
    for score in scores:
        best = np.sort(score, 0)
        assert np.isfinite(score).all()
        assert (best[-1] - best[-2] > 1e-6 * np.abs(best[-1])).all(), "the case is ambiguous; take another seed"
    labels = [label for _, label in images.samples]
    assert result.matrix.tolist() == counted(labels, [score.argmax(0) for score in scores]).tolist()
    return result


@pytest.mark.parametrize("align_corners", [False, True])
def test_whole_image_single_scale(net: Net, pictures: Pictures, align_corners: bool) -> None:
    net.align_corners = align_corners
    result = check(net, pictures, spec())
    total = result.matrix
    union = total.sum(0) + total.sum(1) - total.diagonal()
    assert result.figures(absent="exclude")["miou"] == pytest.approx(100 * np.mean(total.diagonal() / union))
    assert result.figures(absent="exclude")["pixel_accuracy"] == pytest.approx(100 * total.trace() / total.sum())
    assert result.keys == ("val/0", "val/1")
    assert result.seconds_per_image > 0


@pytest.mark.parametrize("fuse", ["logits", "probabilities", "exp_logits"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_scales_and_flip(net: Net, pictures: Pictures, fuse: str, align_corners: bool) -> None:
    net.align_corners, net.gain = align_corners, 3.0
    check(net, pictures, spec(scales=(0.5, 0.75, 1.0, 1.5), flip=True, fuse=fuse))


def test_ways_to_fuse_differ(pictures: Pictures) -> None:
    torch.manual_seed(1)
    net = Net(gain=8.0)
    found = {
        fuse: run(net, pictures, spec(scales=(0.5, 1.0, 1.5), flip=True, fuse=fuse)).matrix.tobytes()
        for fuse in ("logits", "probabilities", "exp_logits")
    }
    assert len(set(found.values())) == 3


@pytest.mark.parametrize("fuse", ["logits", "probabilities", "exp_logits"])
def test_huge_logits(pictures: Pictures, fuse: str) -> None:
    torch.manual_seed(2)
    net = Net(gain=1e4)
    protocol = spec(scales=(0.75, 1.0), flip=True, fuse=fuse)
    result = run(net, pictures, protocol)
    assert result.matrix.sum() == sum((label != 255).sum() for _, label in pictures.samples)
    if fuse == "probabilities":  # ties at exactly 1 + 1 against 1 + 1
        return
    for image, label in pictures.samples:
        score = slow(net, image, protocol)
        best = np.sort(score, 0)
        clear = (label != 255) & (best[-1] - best[-2] > 1e-5 * np.abs(best[-1]))
        assert clear.mean() > 0.8
        only = Pictures([(8, 8)])
        only.samples = [(image, np.where(clear, label, 255).astype(np.uint8))]
        expected = counted([only.samples[0][1]], [score.argmax(0)])
        assert run(net, only, protocol).matrix.tolist() == expected.tolist()


@pytest.mark.parametrize("fuse", ["logits", "probabilities", "exp_logits"])
def test_flip_makes_predictions_symmetrical(net: Net, fuse: str) -> None:
    pictures = Pictures([(40, 56)])
    mirrored = Pictures([(40, 56)])
    mirrored.samples = [(image[:, ::-1].copy(), label[:, ::-1].copy()) for image, label in pictures.samples]
    protocol = spec(scales=(1.0, 1.5), flip=True, fuse=fuse)
    assert run(net, pictures, protocol).matrix.tolist() == run(net, mirrored, protocol).matrix.tolist()
    plain = spec(fuse=fuse)
    assert run(net, pictures, plain).matrix.tolist() != run(net, mirrored, plain).matrix.tolist()


@pytest.mark.parametrize("window", [(64, 56), (100, 200)])
def test_window_that_covers_the_image_is_the_whole_image(net: Net, pictures: Pictures, window: tuple[int, int]) -> None:
    slide = spec(mode="slide", window=window, stride=(20, 20), scales=(0.75, 1.0), flip=True)
    assert (
        run(net, pictures, slide).matrix.tolist()
        == run(net, pictures, spec(scales=(0.75, 1.0), flip=True)).matrix.tolist()
    )


@pytest.mark.parametrize(
    ("window", "stride"),
    [((24, 24), (16, 16)), ((24, 24), None), ((32, 20), (9, 20)), ((24, 100), (23, 5)), ((40, 28), (40, 28))],
)
@pytest.mark.parametrize("align_corners", [False, True])
def test_sliding_windows(
    net: Net, pictures: Pictures, window: tuple[int, int], stride: tuple[int, int] | None, align_corners: bool
) -> None:
    net.align_corners = align_corners
    result = check(net, pictures, spec(mode="slide", window=window, stride=stride))
    assert result.matrix.tolist() != run(net, pictures, spec()).matrix.tolist()


def test_sliding_windows_at_scales_with_flip(net: Net, pictures: Pictures) -> None:
    check(net, pictures, spec(mode="slide", window=(24, 32), stride=(16, 24), scales=(0.75, 1.5), flip=True))


@pytest.mark.parametrize(
    "more", [{}, {"window": (16, 16), "stride": (20, 16)}, {"window": (16, 16), "stride": (8, 17)}]
)
def test_windows_with_gaps_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="window"):
        spec(mode="slide", **more)


def test_label_of_another_size_than_the_image(net: Net) -> None:
    """A protocol may shrink images and score at the label's own size: logits grow to it."""
    pictures = Pictures([(40, 56)])
    image, _ = pictures.samples[0]
    label = Pictures([(80, 112)]).samples[0][1]
    pictures.samples = [(image, label)]
    logits = whole(net, normalised(image), label.shape)
    assert run(net, pictures, spec()).matrix.tolist() == counted([label], [logits.argmax(0)]).tolist()


def test_counts_of_images_sum_to_the_matrix(net: Net, pictures: Pictures) -> None:
    result = run(net, pictures, spec())
    counts = result.counts()
    assert counts["true_positive"].sum(0).tolist() == result.matrix.diagonal().tolist()
    assert counts["predicted"].sum(0).tolist() == result.matrix.sum(0).tolist()
    assert counts["target"].sum(0).tolist() == result.matrix.sum(1).tolist()
    assert counts["target"].shape == (2, NUMBER)
    for index, (_, label) in enumerate(pictures.samples):
        assert counts["target"][index].tolist() == [(label == number).sum() for number in range(NUMBER)]


def test_normalisation_reaches_the_network(net: Net, pictures: Pictures) -> None:
    plain = run(net, pictures, spec()).matrix.tolist()
    shifted = InputSpec(mean=(0.2, 0.5, 0.9), std=(0.1, 0.5, 0.3))
    assert check(net, pictures, spec(), input=shifted).matrix.tolist() != plain


def test_channel_order_reaches_the_network(net: Net, pictures: Pictures) -> None:
    turned = InputSpec(channels="bgr", mean=INPUT.mean[::-1], std=INPUT.std[::-1])
    as_bgr = check(net, pictures, spec(), input=turned).matrix.tolist()
    assert as_bgr != run(net, pictures, spec()).matrix.tolist()
    swapped = Net()
    swapped.load_state_dict(net.state_dict())
    swapped.conv.weight.data = net.conv.weight.data.flip(1)
    assert run(swapped, pictures, spec()).matrix.tolist() == as_bgr


def _network() -> Segmentor:
    torch.manual_seed(0)
    return build_segmentor(model(), num_classes=CLASSES)


def _images(number: int = 3) -> Any:
    return open_dataset(DATA.model_copy(update={"images": number, "size": (32, 64), "splits": ("val",)}))


def modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


def test_every_module_goes_back_to_its_mode() -> None:
    network = _network().train()
    network.backbone.eval()  # as with frozen batch norm
    before, state = modes(network), {key: value.clone() for key, value in network.state_dict().items()}
    random = torch.get_rng_state()
    first = run(network, _images(), spec())
    assert modes(network) == before
    assert not all(before)
    assert any(before)
    # Nothing else changed either: no statistics of batch norm, no dice.
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert run(network.eval(), _images(), spec()).matrix.tolist() == first.matrix.tolist()


def test_stopped_in_the_middle() -> None:
    network, asked = _network().train(), []

    seen: list[Progress] = []

    class Watches(Observer):
        def report(self, progress: Progress) -> None:
            seen.append(progress)

        def stop_requested(self) -> bool:
            asked.append(1)
            return len(asked) > 2

    with pytest.raises(Interrupted) as caught:
        run(network, _images(5), spec(), observer=Watches(), phase="validate")
    assert caught.value.next
    assert all(modes(network))
    assert [(progress.phase, progress.done, progress.total) for progress in seen] == [
        ("validate", 1, 5),
        ("validate", 2, 5),
    ]


@pytest.mark.parametrize("ahead", [0, 2])
def test_corrupt_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    write_tree(tmp_path / "camvid")
    images = open_dataset(DataSpec(name="camvid", splits=("val",)), root=tmp_path)
    path = sorted(places(tmp_path / "camvid", "val")[0].iterdir())[-1]
    path.write_bytes(path.read_bytes()[:100])
    network = _network().train()
    read = module._read_ahead
    monkeypatch.setattr(module, "_read_ahead", lambda images, workers: read(images, workers=ahead))
    with pytest.raises(MissingFault, match=path.stem) as caught:
        run(network, images, spec())
    assert caught.value.exit_code == 3
    assert caught.value.next
    assert all(modes(network))


@pytest.mark.parametrize("workers", [1, 3, 10])
def test_reading_ahead_changes_nothing(workers: int) -> None:
    images = _images(7)
    ahead = list(module._read_ahead(images, workers=workers))
    assert len(ahead) == 7
    for index, sample in enumerate(ahead):
        for one, other in zip(sample, images.read(index), strict=True):
            assert np.array_equal(one, other)


def test_no_images() -> None:
    result = run(_network(), Pictures([]), spec())
    assert result.matrix.sum() == 0
    assert result.keys == ()


@pytest.mark.parametrize("layout", [{"channels_last": True}, {"precision": "bfloat16"}])
def test_machine_changes_next_to_nothing(layout: dict[str, Any]) -> None:
    network, images = _network(), _images()
    plain = run(network, images, spec())
    runtime = Runtime(**layout)
    runtime.place(network)
    other = run(network, images, spec(), runtime=runtime)
    assert np.abs(plain.matrix - other.matrix).sum() <= 0.04 * plain.matrix.sum()
