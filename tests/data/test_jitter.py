"""Styles of jitter against colorsys, OpenCV and plain float64 loops; their draws."""

import colorsys
import math

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchvision.transforms.v2 import functional as reference

from segbench.core.spec import AugmentationSpec, InputSpec, JitterSpec
from segbench.data.augmentation.colour_jitter import JitterDraw, apply_jitter, draw_jitter
from segbench.data.colour import denormalise, normalise

MMSEG = JitterSpec(style="mmseg")


def images(number: int = 4) -> torch.Tensor:
    """Whole grey levels, with grey, black, white and pure colours among them."""
    levels = torch.randint(0, 256, (number, 3, 9, 11), generator=torch.Generator().manual_seed(0))
    levels[0, :, 0] = 128
    levels[0, :, 1] = 0
    levels[0, :, 2] = 255
    levels[0, 1:, 3] = 0
    levels[0, :2, 4] = 0
    levels[0, 0, 5] = levels[0, 1, 5]
    return levels.float() / 255


def draw(spec: JitterSpec, *, size: int = 4, seed: int = 0, decisions: str = "image") -> JitterDraw:
    augmentation = AugmentationSpec(jitter=spec, decisions=decisions)  # type: ignore[arg-type]
    return draw_jitter(augmentation, count=size, begin=0, size=size, rng=np.random.default_rng(seed))


def each(image: torch.Tensor, change) -> torch.Tensor:
    """A change of HSV colours in [0, 1], pixel by pixel in float64."""
    out = image.double().clone()
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            colour = change(*colorsys.rgb_to_hsv(*image[:, y, x].double().tolist()))
            out[:, y, x] = torch.tensor(colorsys.hsv_to_rgb(*colour), dtype=torch.float64)
    return out.float()


KORNIA = {
    "brightness": lambda image, b: (image + b).clamp(0, 1),
    "contrast": lambda image, f: (image * f).clamp(0, 1),
    "saturation": lambda image, f: each(image, lambda h, s, v: (h, min(1.0, f * s), v)),
    "hue": lambda image, t: each(image, lambda h, s, v: ((h + t) % 1, s, v)),
}


@pytest.mark.parametrize("name", KORNIA)
@pytest.mark.parametrize("seed", range(2))
def test_kornia041(name: str, seed: int) -> None:
    low, high = (-0.5, 0.5) if name in ("hue", "brightness") else (0.0, 2.5)
    factors = np.random.default_rng(seed).uniform(low, high, 4).astype(np.float32)
    found = apply_jitter(images(), JitterDraw((name,), {name: factors}, None, "kornia041"))
    for image, factor, result in zip(images(), factors, found, strict=True):
        torch.testing.assert_close(result, KORNIA[name](image, float(factor)), atol=2e-5, rtol=0)


def test_kornia041_in_the_drawn_order() -> None:
    spec = JitterSpec(
        style="kornia041", brightness=(-0.25, 0.25), contrast=(0.75, 1.25), saturation=(0.875, 1.125), hue=(-0.08, 0.08)
    )
    orders = set()
    for seed in range(5):
        drawn = draw(spec, seed=seed)
        orders.add(drawn.order)
        assert (np.abs(drawn.factors["brightness"]) <= 0.25).all()
        found = apply_jitter(images(), drawn)
        for place, image in enumerate(images()):
            for name in drawn.order:
                image = KORNIA[name](image, float(drawn.factors[name][place]))
            torch.testing.assert_close(found[place], image, atol=5e-5, rtol=0)
    assert len(orders) > 2


@pytest.mark.parametrize("style", ["torchvision", "kornia041"])
def test_a_batch_decides_once_and_draws_factors_for_each(style: str) -> None:
    spec = JitterSpec(style=style, hue=(-0.1, 0.1), brightness=(0.1, 0.9), probability=0.5)  # type: ignore[arg-type]
    together = [draw(spec, size=8, seed=seed, decisions="batch").factors for seed in range(200)]
    assert 70 < sum(not factors for factors in together) < 130
    assert all(len(np.unique(values)) == 8 for factors in together for values in factors.values())
    off = draw(spec.model_copy(update={"probability": 0.0}), decisions="batch")
    torch.testing.assert_close(apply_jitter(images(), off), images(), atol=1e-6, rtol=0)


def test_simclr_follows_from_its_strength() -> None:
    full = JitterSpec(style="simclr")
    assert full.ranges()["brightness"] == pytest.approx((0.2, 1.8))
    assert full.ranges()["hue"] == (-0.2, 0.2)
    assert full.chances() == (0.8, 0.2)
    half = JitterSpec(style="simclr", strength=0.5, grey=0.0, contrast=(0.9, 1.1))
    assert half.ranges()["saturation"] == pytest.approx((0.6, 1.4))
    assert half.ranges()["contrast"] == (0.9, 1.1)
    assert half.chances() == (0.8, 0.0)
    assert JitterSpec(style="simclr", strength=2).ranges()["brightness"] == (0.0, 2.6)
    assert JitterSpec.model_validate(half.canonical()) == half
    drawn = draw(full, size=2000)
    assert drawn.grey is not None
    assert drawn.grey.mean() == pytest.approx(0.2, abs=0.04)
    assert (drawn.factors["hue"] == 0).mean() == pytest.approx(0.2, abs=0.04)
    few = draw(JitterSpec(style="simclr", grey=0.5), seed=1)
    plain = JitterDraw(few.order, few.factors, None)
    for result, jittered, grey in zip(
        apply_jitter(images(), few), apply_jitter(images(), plain), few.grey, strict=True
    ):
        expected = reference.rgb_to_grayscale(jittered, num_output_channels=3) if grey else jittered
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)
    assert few.grey.any()


def test_whole_images_are_grey() -> None:
    drawn = draw(JitterSpec(grey=1.0))
    result = apply_jitter(images(), drawn)
    assert drawn.order == ()
    for image, found in zip(images(), result, strict=True):
        torch.testing.assert_close(found, reference.rgb_to_grayscale(image, num_output_channels=3))


def convert(levels: np.ndarray, factor: float = 1.0, amount: float = 0.0) -> np.ndarray:
    return np.clip(levels.astype(np.float32) * np.float32(factor) + np.float32(amount), 0, 255).astype(np.uint8)


def by_rules(levels: np.ndarray, name: str, value: float) -> np.ndarray:
    """One step of the distortion on uint8 (H, W, 3) RGB, the HSV of 8 bits being OpenCV's."""
    if name == "brightness":
        return convert(levels, amount=255 * value)
    if name.startswith("contrast"):
        return convert(levels, value)
    hsv = cv2.cvtColor(levels, cv2.COLOR_RGB2HSV)
    if name == "saturation":
        hsv[..., 1] = convert(hsv[..., 1], value)
    else:
        hsv[..., 0] = (hsv[..., 0].astype(int) + round(180 * value)) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def in_bytes(image: torch.Tensor) -> np.ndarray:
    levels = 255 * image.double().permute(1, 2, 0).numpy()
    assert np.abs(levels - np.rint(levels)).max() < 1e-3, "no whole grey levels"
    return np.rint(levels).astype(np.uint8)


@pytest.mark.parametrize("name", ["brightness", "contrast first", "saturation", "hue"])
def test_mmseg_step_by_step(name: str) -> None:
    ranges = {"brightness": (-32 / 255, 32 / 255), "hue": (-0.1, 0.1)}
    rng = np.random.default_rng(0)
    differing = total = 0
    for _ in range(6):
        values = rng.uniform(*ranges.get(name, (0.5, 1.5)), 4)
        values = np.rint(180 * values) / 180 if name == "hue" else values
        values = values.astype(np.float32)
        found = apply_jitter(images(), JitterDraw((name,), {name: values}, None, "mmseg"))
        for image, value, result in zip(images(), values, found, strict=True):
            difference = np.abs(in_bytes(result).astype(int) - by_rules(in_bytes(image), name, float(value)))
            # OpenCV's integer tables round some hues to the neighbouring one of 180, saturations to that of 255.
            assert difference.max() <= 9
            differing += int((difference > 1).sum())
            total += difference.size
    assert differing / total < 0.01


def test_mmseg_in_its_order() -> None:
    drawn = draw(MMSEG, size=4, seed=2)
    assert drawn.order == ("brightness", "contrast first", "saturation", "hue", "contrast last")
    found = apply_jitter(images(), drawn)
    for place, image in enumerate(images()):
        levels = in_bytes(image)
        for name in drawn.order:
            value = float(drawn.factors[name][place])
            levels = levels if math.isnan(value) else by_rules(levels, name, value)
        difference = np.abs(in_bytes(found[place]).astype(int) - levels)
        assert np.median(difference) == 0
        assert (difference > 2).mean() < 0.02


def test_mmseg_draws() -> None:
    drawn = draw(MMSEG, size=4000)
    on = {name: ~np.isnan(values) for name, values in drawn.factors.items()}
    for name in ("brightness", "saturation", "hue"):
        assert on[name].mean() == pytest.approx(0.5, abs=0.04)
    assert on["contrast first"].mean() == pytest.approx(0.25, abs=0.03)
    assert on["contrast last"].mean() == pytest.approx(0.25, abs=0.03)
    assert not (on["contrast first"] & on["contrast last"]).any()
    steps = 180 * drawn.factors["hue"][on["hue"]].astype(float)
    assert set(np.rint(steps).astype(int)) == set(range(-18, 18))
    assert np.allclose(steps, np.rint(steps), atol=1e-4)
    levels = 255 * drawn.factors["brightness"][on["brightness"]]
    assert 31 < levels.max() <= 32
    together = [draw(MMSEG, seed=seed, decisions="batch").factors for seed in range(50)]
    assert not any(np.isnan(values).any() for factors in together for values in factors.values())
    assert len({tuple(factors) for factors in together}) > 8
    off = draw(JitterSpec(style="mmseg", probability=0.0))
    assert torch.equal(apply_jitter(images(), off), images())


@pytest.mark.parametrize("style", ["torchvision", "kornia041", "simclr", "mmseg"])
def test_grey_images_stay_grey_and_all_stay_in_range(style: str) -> None:
    ranges = {"brightness": (0.1, 0.5), "contrast": (0.2, 2.0), "saturation": (0.2, 2.0), "hue": (-0.2, 0.2)}
    drawn = draw(JitterSpec(style=style, probability=1.0, **ranges))  # type: ignore[arg-type]
    result = apply_jitter(images(), drawn)
    assert result.min() >= 0
    assert result.max() <= 1
    flat = images()[:, :1].expand(-1, 3, -1, -1)
    changed = apply_jitter(flat, drawn)
    assert (changed.amax(1) - changed.amin(1)).max() < 1e-5
    half = apply_jitter(images().bfloat16(), drawn)
    assert half.dtype == torch.bfloat16
    assert (half.float() - result).abs().mean() < 0.02


@pytest.mark.parametrize("style", ["torchvision", "kornia041", "simclr", "mmseg"])
def test_nothing_waits_for_the_device(style: str) -> None:
    ranges = {"brightness": (0.1, 0.5), "hue": (-0.2, 0.2)}
    drawn = draw(JitterSpec(style=style, grey=0.5, **ranges))  # type: ignore[arg-type]
    assert apply_jitter(images().to("meta"), drawn).shape == images().shape


@pytest.mark.parametrize("spec", [InputSpec(), InputSpec(channels="bgr", mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 0.25))])
def test_denormalise(spec: InputSpec) -> None:
    torch.testing.assert_close(denormalise(normalise(images(), spec), spec), images(), atol=1e-6, rtol=0)


def test_nonsense_is_refused() -> None:
    for wrong in (
        {"brightness": (1.5, 0.5)},
        {"brightness": (-0.1, 0.1)},
        {"hue": (-0.6, 0.1)},
        {"style": "kornia041", "contrast": (-0.5, 1)},
        {"style": "mmseg", "brightness": (-2, 2)},
    ):
        with pytest.raises(ValidationError):
            JitterSpec(**wrong)
    JitterSpec(style="kornia041", brightness=(-0.1, 0.1))
