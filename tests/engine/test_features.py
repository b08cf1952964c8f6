"""Figures of features through a whole evaluation, against loops over every pixel of maps taken from the network."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from segbench.core.errors import InvalidFault
from segbench.core.spec import DataSpec, EvaluationSpec, FeatureSpec, InputSpec
from segbench.engine.evaluate import Evaluation, Trial, evaluate, evaluate_all
from segbench.engine.runtime import Runtime
from segbench.models.segmentor import Backbone, Segmentor, SegmentorOutput
from tests.metrics.test_geometry import alignment_by_hand, neighborhood_by_hand, uniformity_by_hand

DATA = DataSpec(name="camvid", source="generated")
INPUT = InputSpec(channels="bgr", mean=(0.3, 0.4, 0.5), std=(0.2, 0.3, 0.4))
NUMBER = 6  # of classes, of which the last never occurs
Array = NDArray[Any]


class Shrinking(Backbone):
    layer_channels, layer_strides = (4, 7), (4, 8)

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(4, 7, 2, stride=2)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        fine = self.fine(images)
        return fine, self.coarse(fine)


class Net(Segmentor):
    """Its embedding is made in evaluation mode alone; the layers that it shows are not its backbone's."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.num_classes, self.align_corners = NUMBER, False
        self.backbone = Shrinking()
        self.layer_channels, self.layer_strides = Shrinking.layer_channels, Shrinking.layer_strides
        self.dropout, self.classifier = nn.Dropout(0.5), nn.Conv2d(4, NUMBER, 1)

    def forward(self, images: Tensor) -> SegmentorOutput:
        fine, _ = self.backbone(images)
        embedding = self.dropout(fine.relu())
        return SegmentorOutput(self.classifier(embedding), (fine * 0, fine * 0), embedding, {})


class Pictures:
    """Noise with labels in patches, of several sizes; a tenth is ignored."""

    sizes = ((32, 40), (24, 48), (40, 36))

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.samples = []
        for height, width in self.sizes:
            label = random.integers(0, NUMBER - 1, (height // 4, width // 4)).repeat(4, 0).repeat(4, 1)
            label[random.random(label.shape) < 0.1] = 255
            image = random.integers(0, 256, (height, width, 3)) // 2 + label[..., None] % 8 * 16
            self.samples.append((image.clip(0, 255).astype(np.uint8), label.astype(np.uint8)))

    def __len__(self) -> int:
        return len(self.samples)

    def key(self, index: int) -> str:
        return f"val/{index}"

    def read(self, index: int) -> tuple[Array, Array]:
        return self.samples[index]


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().train()


def run(net: Net, features: FeatureSpec | None, **more: Any) -> Evaluation:
    protocol = EvaluationSpec(data=DATA, features=features, **more)
    return evaluate(net, Pictures(), protocol, input=INPUT, runtime=Runtime())


def by_hand(net: Net, *, layer: int | None, unit: bool) -> list[Array]:
    """Features of every class, pixel by pixel: normalisation and nearest labels written out."""
    found: dict[int, list[Array]] = {}
    for image, label in Pictures().samples:
        scaled = image[..., ::-1].astype(np.float64) / 255
        normalised = (scaled - np.array(INPUT.mean)) / np.array(INPUT.std)
        images = torch.from_numpy(normalised).float().permute(2, 0, 1)[None]
        with torch.no_grad():
            layers = net.backbone(images)
        features = (layers[0].relu() if layer is None else layers[layer - 1])[0].double().numpy()
        rows, columns = features.shape[1:]
        for row in range(rows):
            for column in range(columns):
                value = int(label[row * label.shape[0] // rows, column * label.shape[1] // columns])
                if value != 255:
                    vector = features[:, row, column]
                    length = math.sqrt(vector @ vector)
                    found.setdefault(value, []).append(vector / max(length, 1e-12) if unit else vector)
    return [np.stack(found[value]) for value in sorted(found)]


@pytest.mark.parametrize("layer", [None, 1, 2])
@pytest.mark.parametrize("length", ["raw", "unit"])
def test_figures_are_those_of_all_pixels(net: Net, layer: int | None, length: Any) -> None:
    classes = by_hand(net, layer=layer, unit=length == "unit")
    centres = [each.mean(0) for each in classes]
    assert len(classes) == NUMBER - 1
    result = run(net, FeatureSpec(layer=layer, length=length))
    figures = result.figures(absent="exclude")
    assert figures["alignment"] == pytest.approx(alignment_by_hand(classes), rel=1e-5)
    assert figures["uniformity"] == pytest.approx(uniformity_by_hand(centres), rel=1e-5)
    assert figures["neighborhood_uniformity_3"] == pytest.approx(neighborhood_by_hand(centres, 3), rel=1e-5)
    assert "neighborhood_uniformity_5" not in figures, "a class has four others"
    assert result.features is not None
    assert result.features.pixels.tolist() == [*map(len, classes), 0]
    assert net.training and net.dropout.training, "modes are as they were"


def test_other_scores_stay_and_nothing_is_gathered_unasked(net: Net) -> None:
    plain, measured = run(net, None), run(net, FeatureSpec(per_class=5))
    assert plain.features is None
    assert (plain.matrix == measured.matrix).all()
    known = plain.figures(absent="exclude")
    assert known.items() <= measured.figures(absent="exclude").items()
    assert not any("uniformity" in name or "alignment" in name for name in known)
    assert "features" not in plain.counts() and plain.counts().keys() == measured.counts().keys()


def test_scales_and_flips_are_of_the_predictions_alone(net: Net) -> None:
    one, several = run(net, FeatureSpec()), run(net, FeatureSpec(), scales=(0.5, 1.0, 2.0), flip=True)
    assert one.features is not None and several.features is not None
    assert one.features.figures() == several.features.figures()
    assert not (one.matrix == several.matrix).all()


def test_a_trial_each(net: Net) -> None:
    specs = [FeatureSpec(), FeatureSpec(layer=2), FeatureSpec(per_class=4, seed=1)]
    trials = [Trial(net, EvaluationSpec(data=DATA, features=each), INPUT) for each in specs]
    together = evaluate_all(trials, Pictures(), runtime=Runtime())
    for result, each in zip(together, specs, strict=True):
        alone = run(net, each).features
        assert result.features is not None and alone is not None
        assert result.features.figures() == alone.figures()
    sampled = together[2].features
    assert sampled is not None and sampled.sampled.tolist() == [4] * (NUMBER - 1) + [0]


def test_a_layer_that_is_not_there(net: Net) -> None:
    with pytest.raises(InvalidFault, match="layer is 3, but this encoder has 2 layers"):
        run(net, FeatureSpec(layer=3))


@pytest.mark.parametrize(
    "more", [{"mode": "slide", "window": (16, 16)}, {"short_side": 32}, {"multiple_of": 8}, {"pad": {"multiple": 8}}]
)
def test_features_of_windows_or_of_other_sizes_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="features are measured on whole images at their own size"):
        EvaluationSpec(data=DATA, features=FeatureSpec(), **more)
    assert EvaluationSpec(data=DATA, **more).id() != EvaluationSpec(data=DATA).id()


def test_a_protocol_without_features_keeps_its_id() -> None:
    plain = EvaluationSpec(data=DATA)
    assert "features" not in plain.canonical()
    assert EvaluationSpec(data=DATA, features=FeatureSpec()).id() != plain.id()
