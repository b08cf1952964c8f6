"""Geometry of training samples against resizing the whole image and cutting, and against plain arithmetic."""

import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench.core.errors import InvalidFault
from segbench.core.spec import AugmentationSpec, JitterSpec
from segbench.data.augment import check_supported, largest_share, training_sample

FILL = (124, 116, 104)


def smooth(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 4 + 2, width // 4 + 2, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose pixels say where they are, and a label of the same."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    image = np.stack([rows, columns, rows * 0], axis=-1).astype(np.uint8)
    return image, ((rows * 7 + columns) % 200).astype(np.uint8)


def sample(image, label, crop, seed: int = 0, **spec):
    rng = np.random.default_rng(seed)
    return training_sample(image, label, crop=crop, spec=AugmentationSpec(**spec), fill=FILL, rng=rng)


def test_plain_crop_keeps_pixels_and_labels_together() -> None:
    image, label = coordinates(20, 30)
    corners = set()
    for seed in range(300):
        picture, piece = sample(image, label, (18, 27), seed)
        top, left = int(picture[0, 0, 0]), int(picture[0, 0, 1])
        assert np.array_equal(picture, image[top : top + 18, left : left + 27])
        assert np.array_equal(piece, label[top : top + 18, left : left + 27])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(4)}


def test_result_never_shares_memory_with_the_source() -> None:
    image, label = coordinates(8, 8)
    for flip in (0.0, 1.0):
        picture, piece = sample(image, label, (8, 8), flip=flip)
        assert not np.shares_memory(picture, image)
        assert not np.shares_memory(piece, label)
        assert picture.flags.c_contiguous
        assert piece.flags.c_contiguous


def test_flip_turns_both() -> None:
    image, label = coordinates(8, 9)
    picture, piece = sample(image, label, (8, 9), flip=1.0)
    assert np.array_equal(picture, image[:, ::-1])
    assert np.array_equal(piece, label[:, ::-1])
    flipped = sum(bool(sample(image, label, (8, 9), seed, flip=0.5)[0][0, 0, 1]) for seed in range(400))
    assert 150 < flipped < 250


@pytest.mark.parametrize(("how", "flag"), [("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC)])
@pytest.mark.parametrize("scale", [0.5, 0.73, 1.37, 2.0])
def test_window_equals_resize_then_crop(scale: float, how: str, flag: int) -> None:
    image = smooth(60, 80)
    label = (smooth(60, 80)[..., 0] // 30).astype(np.uint8)
    height, width = round(60 * scale), round(80 * scale)
    whole = cv2.resize(image, (width, height), interpolation=flag).astype(int)
    rows = [math.floor(Fraction(2 * i + 1, 2) * 60 / height) for i in range(height)]
    columns = [math.floor(Fraction(2 * i + 1, 2) * 80 / width) for i in range(width)]
    whole_label = label[rows][:, columns]
    for seed in range(5):
        picture, piece = sample(image, label, (24, 28), seed, scale=(scale, scale), interpolation=how)
        found = [
            np.abs(whole[top : top + 24, left : left + 28] - picture).max()
            for top in range(height - 23)
            for left in range(width - 27)
            if np.array_equal(whole_label[top : top + 24, left : left + 28], piece)
        ]
        # 1/32 of a pixel and rounding: a few grey levels on this steep image
        assert found, "the label is no window of the resized label"
        assert min(found) <= 4


def test_small_images_are_padded_below_and_right() -> None:
    image, label = coordinates(10, 12)
    picture, piece = sample(image, label, (16, 15))
    assert np.array_equal(picture[:10, :12], image)
    assert np.array_equal(piece[:10, :12], label)
    assert (piece[10:] == 255).all()
    assert (piece[:, 12:] == 255).all()
    assert (picture[10:] == FILL).all()
    assert (picture[:, 12:] == FILL).all()


def test_scales_are_uniform_or_stepped() -> None:
    image, label = smooth(40, 40), np.zeros((40, 40), np.uint8)

    def heights(**spec) -> list[int]:
        found = []
        for seed in range(300):
            piece = sample(image, label, (200, 200), seed, **spec)[1]
            found.append(int((piece[:, 0] == 0).sum()))
        return found

    free = heights(scale=(0.5, 2.0))
    assert min(free) < 23
    assert max(free) > 77
    assert np.mean(free) == pytest.approx(50, abs=5)
    assert set(heights(scale=(0.5, 2.0), scale_step=0.5)) == {20, 40, 60, 80}
    rare = heights(scale=(2.0, 2.0), scale_probability=0.25)
    assert set(rare) == {40, 80}
    assert np.mean(np.array(rare) == 80) == pytest.approx(0.25, abs=0.08)


def test_aspect_keeps_the_area() -> None:
    image, label = smooth(40, 40), np.zeros((40, 40), np.uint8)
    piece = sample(image, label, (100, 100), aspect=(1.44, 1.44))[1]
    assert ((piece[:, 0] == 0).sum(), (piece[0] == 0).sum()) == (33, 48)


def test_crops_with_one_class_are_drawn_again() -> None:
    label = np.zeros((40, 200), np.uint8)
    label[:, :60] = np.arange(60) % 5
    image = np.zeros((40, 200, 3), np.uint8)

    def shares(**spec) -> np.ndarray:
        return np.array([largest_share(sample(image, label, (40, 40), seed, **spec)[1]) for seed in range(100)])

    assert (shares() > 0.75).mean() > 0.5
    assert (shares(max_class_share=0.75, crop_draws=50) > 0.75).mean() < 0.05
    few = (shares(max_class_share=0.75, crop_draws=2) > 0.75).mean()
    assert 0.2 < few < 0.75


def test_share_counts_labelled_pixels_only() -> None:
    assert largest_share(np.array([[0, 0, 1, 255]], np.uint8)) == pytest.approx(2 / 3)
    assert largest_share(np.full((2, 2), 255, np.uint8)) == 1.0


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(8, 40), st.integers(8, 40)),
    st.tuples(st.integers(4, 50), st.integers(4, 50)),
    st.floats(0.3, 2.5),
    st.floats(0.5, 2.0),
    st.integers(0, 9),
)
def test_any_sizes(shape, crop, scale, aspect, seed) -> None:
    image, label = coordinates(*shape)
    picture, piece = sample(image, label, crop, seed, scale=(scale, scale), aspect=(aspect, aspect), flip=0.5)
    assert picture.shape == (*crop, 3)
    assert piece.shape == crop
    assert set(np.unique(piece)) <= {*np.unique(label).tolist(), 255}


def test_what_is_not_built_is_refused_by_name() -> None:
    check_supported(AugmentationSpec(jitter=JitterSpec(brightness=(0.5, 1.5))))
    spec = AugmentationSpec(
        jitter=JitterSpec(style="simclr"), blur=0.5, rotation=10, classmix=1.0, interpolation="lanczos"
    )
    with pytest.raises(InvalidFault) as caught:
        check_supported(spec)
    text = str(caught.value)
    assert len(caught.value.faults) == 5
    assert all(name in text for name in ("jitter.style", "blur", "rotation", "classmix", "interpolation"))
    with pytest.raises(InvalidFault, match=r"augmentation\.scale"):
        check_supported(AugmentationSpec(scale=(2.0, 0.5)))
