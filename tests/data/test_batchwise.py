"""Whole batches on their device: each step against loops, their order, and who may see which draws."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from segbench.core.spec import AugmentationSpec, BlurSpec, JitterSpec
from segbench.data.augmentation.batchwise import BatchAugmenter, BatchDraw, Place, augment_batch
from segbench.data.augmentation.blur import gaussian_blur
from segbench.data.augmentation.classmix import classmix
from segbench.data.augmentation.colour_jitter import JitterDraw, apply_jitter

NO_JITTER = JitterDraw((), {}, None)
FULL = AugmentationSpec(
    scale=(0.75, 1.75),
    scale_probability=0.8,
    flip=0.5,
    classmix=0.75,
    classmix_skips=(0,),
    jitter=JitterSpec(style="kornia041", brightness=(-0.2, 0.2), hue=(-0.1, 0.1), probability=0.8),
    blur=BlurSpec(probability=0.5, kernel=7, axes=(0.1, 1.5)),
    decisions="batch",
)


def batch(number: int = 4, size: tuple[int, int] = (16, 18)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (number, size[0] // 2, size[1] // 2), generator=generator)
    labels = labels.repeat_interleave(2, 1).repeat_interleave(2, 2)
    labels[:, :2] = 255
    images = torch.rand((number, 3, *size), generator=generator)
    return images, labels, torch.rand((number, *size), generator=generator)


def augmenter(spec: AugmentationSpec = FULL, *, total: int = 4, mine: range | None = None, **more) -> BatchAugmenter:
    settings = {"seed": 3, "stream": "unlabelled", **more}
    return BatchAugmenter(spec, batch_total=total, positions=mine, **settings)


def only(place: Place) -> BatchDraw:
    return BatchDraw(None, place, NO_JITTER, None)


@pytest.mark.parametrize("size", [(12, 13), (13, 15), (9, 18), (15, 12)])
def test_smaller_batches_are_padded_around(size: tuple[int, int]) -> None:
    images, labels, confidence = batch()
    drawn = only(Place(size, (0, 0), False))
    found = augment_batch(images, labels, drawn, confidence=confidence, fill=(0.1, 0.2, 0.3))
    missing = 16 - size[0], 18 - size[1]
    top, left = math.ceil(missing[0] / 2), missing[1] // 2
    inside = slice(top, top + size[0]), slice(left, left + size[1])
    scaled = functional.interpolate(images, size=size, mode="bilinear", align_corners=True)
    torch.testing.assert_close(found.images[:, :, inside[0], inside[1]], scaled)
    scaled = functional.interpolate(confidence[:, None], size=size, mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(found.confidence[:, inside[0], inside[1]], scaled)
    for y in range(size[0]):
        for x in range(size[1]):
            source = labels[:, math.floor(y * 16 / size[0]), math.floor(x * 18 / size[1])]
            assert torch.equal(found.labels[:, top + y, left + x], source)
    outside = torch.ones(16, 18, dtype=torch.bool)
    outside[inside] = False
    assert (found.labels[:, outside] == 255).all()
    assert (found.confidence[:, outside] == 0).all()
    colours = found.images[:, :, outside]
    assert torch.equal(colours, torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1).expand_as(colours))


def test_larger_batches_are_cropped() -> None:
    images, labels, _ = batch()
    found = augment_batch(images, labels, only(Place((24, 31), (5, 11), False)))
    scaled = functional.interpolate(images, size=(24, 31), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found.images, scaled[:, :, 5:21, 11:29])
    for y in range(16):
        for x in range(18):
            assert torch.equal(found.labels[:, y, x], labels[:, (y + 5) * 16 // 24, (x + 11) * 18 // 31])


@pytest.mark.parametrize("scale", [0.75, 0.9, 1.3, 1.75])
def test_labels_as_torch_resizes_them(scale: float) -> None:
    labels = torch.arange(4096).view(1, 64, 64)
    size = math.floor(64 * scale), math.floor(64 * scale)
    found = augment_batch(torch.zeros(1, 3, 64, 64), labels, only(Place(size, (0, 0), False))).labels
    expected = functional.interpolate(labels[None].float(), size=size, mode="nearest")[0].long()
    top = math.ceil(max(0, 64 - size[0]) / 2)
    left = max(0, 64 - size[1]) // 2
    keep = min(64, size[0])
    assert torch.equal(found[:, top : top + keep, left : left + keep], expected[:, :keep, :keep])


def test_flip() -> None:
    images, labels, confidence = batch()
    found = augment_batch(images, labels, only(Place((16, 18), (0, 0), True)), confidence=confidence)
    assert torch.equal(found.images, images.flip(-1))
    assert torch.equal(found.labels, labels.flip(-1))
    assert torch.equal(found.confidence, confidence.flip(-1))


def test_order() -> None:
    """ClassMix, then place, then colour, then blur."""
    images, labels, confidence = batch()
    for step in range(40):
        drawn = augmenter().draw((16, 18), step=step)
        if drawn.mix and drawn.place and drawn.place.size != (16, 18) and drawn.jitter.order and drawn.blur:
            break
    else:
        pytest.fail("no step does everything")
    mixed = classmix(images, labels, keys=torch.from_numpy(drawn.mix.keys[:4]), skip=(0,), confidence=confidence)
    placed = augment_batch(mixed.images, mixed.labels, only(drawn.place), confidence=mixed.confidence)
    coloured = gaussian_blur(apply_jitter(placed.images, drawn.jitter), drawn.blur)
    found = augmenter()(images, labels, step=step, confidence=confidence)
    torch.testing.assert_close(found.images, coloured)
    assert torch.equal(found.labels, placed.labels)
    assert torch.equal(found.confidence, placed.confidence)
    assert not torch.equal(placed.labels, labels)
    unmixed = augmenter()(images, labels, step=step, mix=False)
    assert torch.equal(unmixed.labels, augment_batch(images, labels, only(drawn.place)).labels)


def test_draws_of_a_batch() -> None:
    drawn = [augmenter().draw((512, 400), step=step) for step in range(400)]
    assert np.mean([each.mix is not None for each in drawn]) == pytest.approx(0.75, abs=0.07)
    assert np.mean([each.place.flip for each in drawn]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([each.blur is not None for each in drawn]) == pytest.approx(0.5, abs=0.08)
    scales = np.array([each.place.size[0] / 512 for each in drawn])
    assert np.mean(scales == 1) == pytest.approx(0.2, abs=0.06)
    free = scales[scales != 1]
    assert 0.74 < free.min() < 0.8
    assert 1.7 < free.max() <= 1.75
    assert free.mean() == pytest.approx(1.25, abs=0.06)
    for each in drawn:
        (height, width), (top, left) = each.place.size, each.place.corner
        assert 0 <= top <= max(0, height - 512)
        assert 0 <= left <= max(0, width - 400)
        assert each.mix is None or each.mix.applied.all()
    assert len({each.place.corner for each in drawn}) > 100


def test_steps_views_streams_and_seeds_draw_independently() -> None:
    images, labels, _ = batch()
    spec = FULL.model_copy(update={"jitter": JitterSpec(brightness=(0.1, 0.9))})
    first = augmenter(spec)(images, labels, step=1).images
    assert torch.equal(first, augmenter(spec)(images, labels, step=1, view=0).images)
    for other in (
        augmenter(spec)(images, labels, step=2),
        augmenter(spec)(images, labels, step=1, view=1),
        augmenter(spec, seed=4)(images, labels, step=1),
        augmenter(spec, stream="labelled")(images, labels, step=1),
    ):
        assert not torch.equal(first, other.images)


@pytest.mark.parametrize("decisions", ["image", "batch"])
@pytest.mark.parametrize("devices", [2, 3])
def test_shares_equal_the_whole(decisions: str, devices: int) -> None:
    images, labels, confidence = batch(6)
    spec = AugmentationSpec.model_validate({**FULL.model_dump(), "decisions": decisions})
    if decisions == "image":
        spec = spec.model_copy(update={"blur": BlurSpec(kernel=5, sigma=(0.5, 2.0), probability=0.5)})
    count = 6 // devices
    for step in range(6):
        whole = augmenter(spec, total=6)(images, labels, step=step, confidence=confidence)
        for begin in range(0, 6, count):
            around = [place % 6 for place in range(begin, begin + count + 1)]
            part = augmenter(spec, total=6, mine=range(begin, begin + count))(
                images[around], labels[around], step=step, confidence=confidence[around]
            )
            for ours, theirs in zip(part, whole, strict=True):
                torch.testing.assert_close(ours, theirs[begin : begin + count])


def test_images_that_decide_alone_are_mixed_in_part() -> None:
    spec = AugmentationSpec(classmix=0.5)
    mixes = [augmenter(spec).draw((16, 18), step=step).mix for step in range(100)]
    shares = np.concatenate([mix.applied[:4] if mix else [False] * 4 for mix in mixes])
    assert shares.mean() == pytest.approx(0.5, abs=0.1)
    assert any(mix is not None and 0 < mix.applied[:4].sum() < 4 for mix in mixes)
    assert augmenter(spec).draw((16, 18), step=0).place is None


def test_nothing_asked_changes_nothing() -> None:
    images, labels, _ = batch()
    found = augmenter(AugmentationSpec())(images, labels, step=0)
    assert torch.equal(found.images, images)
    assert torch.equal(found.labels, labels)


def test_without_gradient_and_autocast() -> None:
    images, labels, _ = batch()
    images.requires_grad_()
    expected = augmenter()(images.detach(), labels, step=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = augmenter()(images, labels, step=3)
    assert found.images.dtype == torch.float32
    assert not found.images.requires_grad
    assert torch.equal(found.images, expected.images)


def test_nothing_waits_for_the_device() -> None:
    images, labels, confidence = (tensor.to("meta") for tensor in batch())
    for step in range(20):
        found = augmenter()(images, labels, step=step, confidence=confidence)
        assert found.images.shape == images.shape
        assert found.labels.shape == found.confidence.shape == labels.shape


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"scale": (2.0, 0.5)}, "must be an ascending range"),
        ({"aspect": (0.0, 1.0)}, "must be an ascending range"),
        ({"decisions": "batch", "rotation": 5.0, "aspect": (0.9, 1.1)}, "aspect, rotation"),
        ({"applied_by": "method"}, "decisions: batch"),
        ({"rotation": 5.0, "interpolation": "lanczos"}, "lanczos"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        AugmentationSpec.model_validate(wrong)
