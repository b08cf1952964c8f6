"""Blur of batches against torchvision and scipy, image by image."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from torchvision.transforms.v2 import functional as reference

from segbench.core.spec import AugmentationSpec, BlurSpec, DataSpec, StreamSpec
from segbench.data.augmentation.blur import draw_blur, gaussian_blur


def images(number: int = 4) -> torch.Tensor:
    return torch.rand((number, 3, 17, 22), generator=torch.Generator().manual_seed(0))


def draw(spec: BlurSpec, *, size: int = 4, seed: int = 0, mine: range | None = None, together: bool = False):
    rng = np.random.default_rng(seed)
    return draw_blur(spec, positions=mine or range(size), size=size, together=together, rng=rng)


@pytest.mark.parametrize("kernel", [3, 5, 23])
@pytest.mark.parametrize("sigma", [0.3, 1.1, 2.5])
def test_one_width_for_both_directions(kernel: int, sigma: float) -> None:
    drawn = draw(BlurSpec(kernel=kernel, sigma=(sigma, sigma)))
    expected = reference.gaussian_blur(images(), [kernel, kernel], [sigma, sigma])
    torch.testing.assert_close(gaussian_blur(images(), drawn), expected, atol=1e-6, rtol=1e-5)


def test_widths_of_their_own() -> None:
    drawn = draw(BlurSpec(kernel=11, sigma=(0.15, 1.3)))
    expected = torch.empty_like(images())
    for place, image in enumerate(images()):
        middle = drawn.down[place, 5:7].astype(float)
        sigma = (2 * np.log(middle[0] / middle[1])) ** -0.5  # of the ratio of two weights
        assert 0.15 <= sigma <= 1.3
        assert np.array_equal(drawn.down[place], drawn.along[place])
        expected[place] = reference.gaussian_blur(image, [11, 11], [sigma, sigma])
    torch.testing.assert_close(gaussian_blur(images(), drawn), expected, atol=1e-5, rtol=1e-5)
    assert len(np.unique(drawn.down[:, 5])) == 4


def test_fixed_widths_down_and_along() -> None:
    drawn = draw(BlurSpec(kernel=23, axes=(0.1, 1.5)))
    expected = reference.gaussian_blur(images(), [23, 23], [1.5, 0.1])  # torchvision says the width along rows first
    torch.testing.assert_close(gaussian_blur(images(), drawn), expected, atol=1e-6, rtol=1e-5)
    rows = images().clone()
    rows[:, :, 1:] = 0.5
    assert (gaussian_blur(rows, drawn)[:, :, 1:] - 0.5).abs().max() < 1e-6  # nothing of the first row reaches below it


def test_border_that_repeats_the_edge() -> None:
    drawn = draw(BlurSpec(kernel=11, sigma=(1.2, 1.2), border="replicate"))
    for image, result in zip(images(), gaussian_blur(images(), drawn), strict=True):
        for channel, found in zip(image.double().numpy(), result.numpy(), strict=True):
            truth = ndimage.gaussian_filter(channel, 1.2, mode="nearest", radius=5)
            assert np.abs(found - truth).max() < 1e-6


def test_probability() -> None:
    half = BlurSpec(kernel=5, sigma=(1.0, 1.0), probability=0.5)
    drawn = draw(half, size=1000)
    alone = drawn.down[:, 2] == 1
    assert 400 < alone.sum() < 600
    assert np.array_equal(alone, drawn.along[:, 2] == 1)
    few = draw(half, seed=4)
    result = gaussian_blur(images(), few)
    for place in range(4):
        assert torch.equal(result[place], images()[place]) == (few.down[place, 2] == 1)
    assert draw(BlurSpec(kernel=5, sigma=(1.0, 1.0), probability=0.0)) is None
    together = [draw(half, seed=seed, together=True) for seed in range(200)]
    assert 70 < sum(each is None for each in together) < 130
    assert all((each.down[:, 2] < 1).all() for each in together if each is not None)


def test_devices_share_one_draw() -> None:
    spec = BlurSpec(kernel=7, sigma=(0.2, 2.0), probability=0.7)
    whole = draw(spec, size=6)
    parts = [draw(spec, size=6, mine=range(begin, begin + 2)) for begin in (0, 2, 4)]
    assert np.array_equal(np.concatenate([part.down for part in parts]), whole.down)


def test_half_precision() -> None:
    drawn = draw(BlurSpec(kernel=7, sigma=(0.2, 2.0)))
    found = gaussian_blur(images().bfloat16(), drawn)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), gaussian_blur(images(), drawn), atol=0.02, rtol=0)


def test_nonsense_is_refused() -> None:
    for wrong, text in [
        ({"kernel": 4, "sigma": (1, 1)}, "must be odd"),
        ({"kernel": 5}, "either sigma or axes"),
        ({"kernel": 5, "sigma": (1, 1), "axes": (1, 1)}, "either sigma or axes"),
        ({"kernel": 5, "sigma": (2, 1)}, "must be an ascending range"),
        ({"kernel": 5, "axes": (0, 1)}, "above 0"),
    ]:
        with pytest.raises(ValidationError, match=text):
            BlurSpec(**wrong)
    blur = AugmentationSpec(blur=BlurSpec(kernel=23, sigma=(1, 1)))
    StreamSpec(data=DataSpec(name="camvid"), crop=(12, 12), batch_total=1, augmentation=blur)
    with pytest.raises(ValidationError, match="does not fit"):
        StreamSpec(data=DataSpec(name="camvid"), crop=(11, 40), batch_total=1, augmentation=blur)
