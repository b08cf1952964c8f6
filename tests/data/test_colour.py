"""Colour of batches against torchvision, image by image."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from segbench.core.spec import AugmentationSpec, InputSpec, JitterSpec
from segbench.data.augmentation.colour_jitter import JitterDraw, apply_jitter, draw_jitter
from segbench.data.colour import normalise

JITTER = JitterSpec(brightness=(2 / 3, 1.5), contrast=(2 / 3, 1.5), saturation=(2 / 3, 1.5), hue=(-0.05, 0.05))
TRUTH = {
    "brightness": reference.adjust_brightness,
    "contrast": reference.adjust_contrast,
    "saturation": reference.adjust_saturation,
    "hue": reference.adjust_hue,
}


def images(number: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand((number, 3, 9, 11), generator=generator)
    batch[0, :, 0] = 0.5  # grey
    batch[0, :, 1] = 0.0
    batch[0, :, 2] = 1.0
    batch[0, 1:, 3] = 0.0  # pure red
    return batch


def draw(**more: object) -> JitterDraw:
    spec = AugmentationSpec(**{"jitter": JITTER, **more})  # type: ignore[arg-type]
    return draw_jitter(spec, count=4, begin=0, size=4, rng=np.random.default_rng(3))


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("seed", range(3))
def test_each_operation(name: str, seed: int) -> None:
    low, high = (-0.5, 0.5) if name == "hue" else (0.0, 2.5)
    factors = np.random.default_rng(seed).uniform(low, high, 4).astype(np.float32)
    mine = apply_jitter(images(), JitterDraw((name,), {name: factors}, None))
    for image, factor, result in zip(images(), factors, mine, strict=True):
        torch.testing.assert_close(result, TRUTH[name](image, float(factor)), atol=2e-5, rtol=0)


def test_chain_in_the_drawn_order() -> None:
    drawn = draw()
    mine = apply_jitter(images(), drawn)
    assert sorted(drawn.order) == sorted(TRUTH)
    for place, image in enumerate(images()):
        for name in drawn.order:
            image = TRUTH[name](image, float(drawn.factors[name][place]))
        torch.testing.assert_close(mine[place], image, atol=5e-5, rtol=0)


def test_draws_are_in_range_and_orders_vary() -> None:
    orders = set()
    spec = AugmentationSpec(jitter=JITTER)
    for seed in range(40):
        drawn = draw_jitter(spec, count=8, begin=0, size=8, rng=np.random.default_rng(seed))
        orders.add(drawn.order)
        for name, (low, high) in {"brightness": (2 / 3, 1.5), "hue": (-0.05, 0.05)}.items():
            assert (drawn.factors[name] >= low - 1e-6).all()
            assert (drawn.factors[name] <= high + 1e-6).all()
            assert len(np.unique(drawn.factors[name])) == 8
    assert len(orders) > 10


def test_probability_leaves_images_alone() -> None:
    never = AugmentationSpec(jitter=JITTER.model_copy(update={"probability": 0.0}))
    drawn = draw_jitter(never, count=4, begin=0, size=4, rng=np.random.default_rng(0))
    torch.testing.assert_close(apply_jitter(images(), drawn), images(), atol=1e-6, rtol=0)
    half = AugmentationSpec(jitter=JITTER.model_copy(update={"probability": 0.5}))
    drawn = draw_jitter(half, count=1000, begin=0, size=1000, rng=np.random.default_rng(0))
    assert 400 < (drawn.factors["hue"] == 0).sum() < 600
    assert ((drawn.factors["hue"] == 0) == (drawn.factors["contrast"] == 1)).all()


def test_devices_share_one_draw() -> None:
    spec = AugmentationSpec(jitter=JITTER, brightness_shift=10)
    whole = draw_jitter(spec, count=6, begin=0, size=6, rng=np.random.default_rng(1))
    parts = [draw_jitter(spec, count=2, begin=b, size=6, rng=np.random.default_rng(1)) for b in (0, 2, 4)]
    assert all(part.order == whole.order for part in parts)
    for name, values in whole.factors.items():
        assert np.array_equal(np.concatenate([part.factors[name] for part in parts]), values)
    assert whole.shift is not None
    assert np.array_equal(np.concatenate([part.shift for part in parts if part.shift is not None]), whole.shift)


def test_brightness_shift() -> None:
    drawn = draw(jitter=None, brightness_shift=10)
    assert drawn.shift is not None
    levels = drawn.shift * 255
    assert np.allclose(levels, np.rint(levels), atol=1e-4)
    assert (np.abs(levels) <= 10.001).all()
    result = apply_jitter(images(), drawn)
    expected = (images() + torch.from_numpy(drawn.shift).view(-1, 1, 1, 1)).clamp(0, 1)
    torch.testing.assert_close(result, expected)


def test_normalise() -> None:
    spec = InputSpec()
    expected = reference.normalize(images(), list(spec.mean), list(spec.std))
    torch.testing.assert_close(normalise(images(), spec), expected)
    turned = InputSpec(channels="bgr", mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 0.25))
    result = normalise(images(), turned)
    torch.testing.assert_close(result[:, 0], images()[:, 2] - 0.1)
    torch.testing.assert_close(result[:, 2], (images()[:, 0] - 0.3) / 0.25)
