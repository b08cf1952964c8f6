"""ClassMix against loops over classes and pixels."""

import pytest
import torch

from segbench.data.augmentation.classmix import classmix


def batch(number: int = 4, classes: int = 6, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images of noise, labels in blocks with ignored pixels, keys."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((number, 3, 8, 10), generator=generator)
    coarse = torch.randint(0, classes, (number, 4, 5), generator=generator)
    coarse[:, 0, 0] = 255
    labels = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    return images, labels, torch.rand((number, 256), generator=generator)


def drawn_by_hand(label: torch.Tensor, keys: torch.Tensor, skip: tuple[int, ...]) -> set[int]:
    present = sorted(set(label.flatten().tolist()))
    if present != [255]:
        present = [number for number in present if number != 255]
    if any(number not in skip for number in present):
        present = [number for number in present if number not in skip]
    wanted = {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 4}[len(present)]
    return set(sorted(present, key=lambda number: float(keys[number]))[:wanted])


def mixed_by_hand(images, labels, keys, *, skip=(), applied=None):
    new_images, new_labels = images.clone(), labels.clone()
    number = len(images)
    for i in range(number):
        if applied is not None and not applied[i]:
            continue
        other = (i + 1) % number
        classes = drawn_by_hand(labels[other], keys[other], skip)
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                if int(labels[other, y, x]) in classes:
                    new_images[i, :, y, x] = images[other, :, y, x]
                    new_labels[i, y, x] = labels[other, y, x]
    return new_images, new_labels


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("skip", [(), (0,), (0, 2)])
def test_pixels_and_labels(classes: int, skip: tuple[int, ...]) -> None:
    for seed in range(4):
        images, labels, keys = batch(classes=classes, seed=seed)
        mixed = classmix(images, labels, keys=keys, skip=skip)
        expected = mixed_by_hand(images, labels, keys, skip=skip)
        assert torch.equal(mixed.images, expected[0])
        assert torch.equal(mixed.labels, expected[1])
        assert mixed.confidence is None


def test_some_images_are_left_alone() -> None:
    images, labels, keys = batch()
    applied = torch.tensor([True, False, True, False])
    mixed = classmix(images, labels, keys=keys, applied=applied)
    expected = mixed_by_hand(images, labels, keys, applied=applied.tolist())
    assert torch.equal(mixed.images, expected[0])
    assert torch.equal(mixed.labels[1], labels[1])


def test_confidence_goes_along() -> None:
    images, labels, keys = batch()
    confidence = images[:, 0].clone()
    mixed = classmix(images, labels, keys=keys, confidence=confidence)
    assert mixed.confidence is not None
    assert torch.equal(mixed.confidence, mixed.images[:, 0])


def test_ignored_pixels_are_pasted_only_where_nothing_else_is() -> None:
    images, labels, keys = batch(2)
    keys[:, 255] = 0  # the first choice, were it one
    assert not (classmix(images, labels, keys=keys).labels == 255)[labels != 255].any()
    labels[1] = 255
    mixed = classmix(images, labels, keys=keys)
    assert (mixed.labels[0] == 255).all()
    assert torch.equal(mixed.images[0], images[1])


def test_background_alone_is_pasted_all_the_same() -> None:
    images, labels, keys = batch(2, 1)
    mixed = classmix(images, labels, keys=keys, skip=(0,))
    where = labels[1] == 0
    assert torch.equal(mixed.images[0][:, where], images[1][:, where])


@pytest.mark.parametrize(("classes", "wanted"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)])
def test_every_class_is_drawn_equally_often(classes: int, wanted: int) -> None:
    number = 600
    labels = torch.arange(classes).repeat(number, 2, 1)
    images = torch.zeros(number, 3, 2, classes)
    images[1::2] = 1
    keys = torch.rand((number, 256), generator=torch.Generator().manual_seed(1))
    pasted = (classmix(images, labels, keys=keys).images != images)[:, 0, 0]  # column c shows class c
    assert (pasted.sum(dim=1) == wanted).all()
    assert ((pasted.float().mean(dim=0) - wanted / classes).abs() < 0.08).all()


def test_bytes_and_half_precision() -> None:
    images, labels, keys = batch()
    expected = classmix(images, labels, keys=keys)
    found = classmix(images.bfloat16(), labels.to(torch.uint8), keys=keys)
    assert found.labels.dtype == torch.uint8
    assert torch.equal(found.labels.long(), expected.labels)
    assert torch.equal(found.images, expected.images.bfloat16())


def test_the_order_of_channels_means_nothing() -> None:
    images, labels, keys = batch()
    assert torch.equal(
        classmix(images.flip(1), labels, keys=keys).images, classmix(images, labels, keys=keys).images.flip(1)
    )


def test_nothing_waits_for_the_device() -> None:
    images, labels, keys = (tensor.to("meta") for tensor in batch())
    mixed = classmix(images, labels, keys=keys, applied=keys[:, 0] > 0.5, skip=(0,), confidence=images[:, 0])
    assert mixed.images.shape == images.shape
