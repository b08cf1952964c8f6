"""Features gathered image by image: the same as loops over all pixels, whatever the order; samples are fair."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from segbench.metrics.features import ClassFeatures, FeatureScores
from tests.metrics.test_geometry import alignment_by_hand, neighborhood_by_hand, uniformity_by_hand

CLASSES, CHANNELS = 5, 3
Split = list[tuple[str, torch.Tensor, np.ndarray]]


def split(images: int = 4, *, side: int = 6, seed: int = 0) -> Split:
    """Images of five classes, the last of which never occurs; some pixels are ignored."""
    random = np.random.default_rng(seed)
    found: Split = []
    for index in range(images):
        labels = random.choice(np.array([0, 1, 2, 3, 255], np.uint8), (side, side + 1), p=[0.4, 0.3, 0.2, 0.05, 0.05])
        features = torch.from_numpy(random.normal(size=(CHANNELS, side, side + 1))).float() + 2
        found.append((f"image-{index}", features, labels))
    return found


def gathered(images: Split, **words: int) -> ClassFeatures:
    found = ClassFeatures(CLASSES, **words)
    for key, features, labels in images:
        found.update(features, labels, key=key)
    return found


def of_classes(images: Split, *, unit: bool) -> list[np.ndarray]:
    """Features (n, K) of every class that occurs, gathered pixel by pixel."""
    pixels: dict[int, list[np.ndarray]] = {}
    for _, features, labels in images:
        for (row, column), label in np.ndenumerate(labels):
            if label < CLASSES:
                vector = features[:, row, column].double().numpy()
                pixels.setdefault(int(label), []).append(vector / math.sqrt(vector @ vector) if unit else vector)
    return [np.stack(pixels[label]) for label in sorted(pixels)]


@pytest.mark.parametrize("length", ["raw", "unit"])
def test_all_pixels_as_in_the_equations(length: str) -> None:
    images = split()
    classes = of_classes(images, unit=length == "unit")
    centres = [each.mean(0) for each in classes]
    found = gathered(images).scores()
    ours = found.values[length]  # type: ignore[index]
    assert ours["alignment"] == pytest.approx(alignment_by_hand(classes), rel=1e-6)
    assert ours["uniformity"] == pytest.approx(uniformity_by_hand(centres), rel=1e-6)
    assert ours["neighborhood_uniformity_3"] == pytest.approx(neighborhood_by_hand(centres, 3), rel=1e-6)
    assert math.isnan(ours["neighborhood_uniformity_5"]), "four classes occur"
    ratio = alignment_by_hand(classes) / uniformity_by_hand(centres)
    assert ours["alignment_over_uniformity"] == pytest.approx(ratio, rel=1e-6)
    assert found.pixels.tolist() == [*map(len, classes), 0] == found.sampled.tolist()


def close(one: FeatureScores, other: FeatureScores, *, rel: float = 1e-12) -> bool:
    return all(
        one.values[length][name] == pytest.approx(value, rel=rel, nan_ok=True)
        for length, values in other.values.items()
        for name, value in values.items()
    )


@pytest.mark.parametrize("per_class", [2, 7, 2000])
def test_the_order_of_the_images_changes_nothing(per_class: int) -> None:
    images = split(5)
    found = gathered(images, per_class=per_class)
    backwards = gathered(images[::-1], per_class=per_class)
    assert close(found.scores(), backwards.scores())
    for label in range(4):
        assert torch.equal(found.sample(label), backwards.sample(label))
    assert found.scores().sampled.tolist() == np.minimum(found.scores().pixels, per_class).tolist()


def test_turning_and_scaling_of_the_features() -> None:
    images = split()
    turned = torch.linalg.qr(torch.from_numpy(np.random.default_rng(1).normal(size=(CHANNELS, CHANNELS))).float()).Q
    plain = gathered(images, per_class=9).scores()
    rotated = [(key, torch.einsum("kc,chw->khw", turned, features), labels) for key, features, labels in images]
    assert close(gathered(rotated, per_class=9).scores(), plain, rel=1e-5)
    larger = gathered([(key, 8 * features, labels) for key, features, labels in images], per_class=9).scores()
    for name, value in plain.values["raw"].items():
        factor = 1 if name == "alignment_over_uniformity" else 8
        assert larger.values["raw"][name] == pytest.approx(factor * value, nan_ok=True)
        assert larger.values["unit"][name] == pytest.approx(plain.values["unit"][name], nan_ok=True)


def test_every_pixel_is_sampled_equally_often() -> None:
    """Three of twelve pixels over two images; each should be in a quarter of the samples."""
    times = np.zeros(12)
    draws = 600
    for seed in range(draws):
        found = ClassFeatures(1, per_class=3, seed=seed)
        for index in range(2):
            places = torch.arange(6.0).reshape(1, 2, 3) + 6 * index
            found.update(places, np.zeros((2, 3), np.uint8), key=str(index))
        chosen = found.sample(0).flatten().int().tolist()
        assert len(set(chosen)) == 3
        times[chosen] += 1
    spread = math.sqrt(draws * 0.25 * 0.75)
    assert np.abs(times - draws / 4).max() < 4 * spread


def test_seed_and_name_decide_the_draw() -> None:
    def chosen(seed: int, key: str) -> list[float]:
        found = ClassFeatures(1, per_class=4, seed=seed)
        found.update(torch.arange(100.0).reshape(1, 10, 10), np.zeros((10, 10), np.uint8), key=key)
        return found.sample(0).flatten().tolist()

    assert chosen(0, "a") == chosen(0, "a")
    assert len({tuple(chosen(*words)) for words in ((0, "a"), (1, "a"), (0, "b"), (1, "b"))}) == 4


def test_the_sample_estimates_all_pixels() -> None:
    images = split(6, side=20, seed=3)
    whole = gathered(images).scores().values["raw"]
    parts = [gathered(images, per_class=30, seed=seed).scores().values["raw"] for seed in range(25)]
    drawn = [part["alignment"] for part in parts]
    assert len(set(drawn)) == 25
    assert sum(drawn) / 25 == pytest.approx(whole["alignment"], rel=0.02)
    assert {part["uniformity"] for part in parts} == {whole["uniformity"]}, "centres are of all pixels"


def test_large_maps_are_added_in_chunks() -> None:
    random = np.random.default_rng(2)
    features, labels = random.normal(size=(1024, 70, 75)).astype(np.float32), random.integers(0, 2, (70, 75), np.uint8)
    found = ClassFeatures(2, per_class=2)
    found.update(torch.from_numpy(features), labels, key="a")
    first, second = (features[:, labels == label].astype(np.float64).mean(1) for label in (0, 1))
    assert found.scores().values["raw"]["uniformity"] == pytest.approx(np.linalg.norm(first - second), rel=1e-9)


def test_low_precision_is_summed_in_high() -> None:
    features = torch.full((1, 300, 300), 0.1, dtype=torch.bfloat16)
    found = ClassFeatures(2)
    found.update(features, np.zeros((300, 300), np.uint8), key="a")
    found.update(features * 2, np.ones((300, 300), np.uint8), key="b")
    assert found.scores().values["raw"]["uniformity"] == pytest.approx(float(features[0, 0, 0]), rel=1e-12)


def test_features_of_zeros_have_no_direction() -> None:
    found = ClassFeatures(2)
    found.update(torch.zeros(3, 2, 2), np.array([[0, 0], [1, 1]], np.uint8), key="a")
    assert found.scores().values["unit"]["uniformity"] == 0


def test_figures_and_what_they_rest_on() -> None:
    found = gathered(split(), per_class=6).scores()
    raw, unit = found.figures(), replace(found, length="unit").figures()
    names = {"alignment", "uniformity", "neighborhood_uniformity_3", "alignment_over_uniformity"}
    assert set(raw) == names | {f"{name}_unit" for name in names}
    assert set(unit) == names | {f"{name}_raw" for name in names}
    assert raw["alignment"] == unit["alignment_raw"] and raw["alignment_unit"] == unit["alignment"]
    about = found.about(("a", "b", "c", "d", "e"))
    assert about["a"] == {"pixels": int(found.pixels[0]), "sampled": 6} and about["e"] == {"pixels": 0, "sampled": 0}


def test_nothing_added() -> None:
    assert ClassFeatures(3).scores().figures() == {}


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="must agree"):
        ClassFeatures(3).update(torch.zeros(2, 4, 4), np.zeros((4, 5), np.uint8), key="a")


def test_the_device_is_never_asked() -> None:
    """Tensors without values: what would look at one fails."""
    found = ClassFeatures(CLASSES, per_class=3, device="meta")
    for key, features, labels in split():
        found.update(features.to("meta"), labels, key=key)
    assert found.sample(0).shape == (3, CHANNELS)
    with pytest.raises((RuntimeError, NotImplementedError)):
        found.scores()
