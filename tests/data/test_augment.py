"""Geometry of training samples against resizing the whole image and cutting, and against plain arithmetic."""

import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segbench.core.spec import AugmentationSpec, InputSpec
from segbench.data.augmentation.augment import (
    _image_window,
    _label_window,
    largest_share,
    of_sample,
    padding_colour,
    training_sample,
)

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
    return training_sample(image, label, crop=crop, spec=AugmentationSpec(**spec), fill=FILL, rng=rng)[:2]


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


def turned(array: np.ndarray, angle: float, scaled: tuple[int, int], *, fill: tuple[float, ...]) -> np.ndarray:
    """The array scaled and turned counter-clockwise, from the definition: bilinear, or nearest if 2-D."""
    height, width = array.shape[:2]
    padded = np.zeros((height + 2, width + 2, *array.shape[2:]))
    padded[:] = fill if array.ndim == 3 else fill[0]
    padded[1:-1, 1:-1] = array
    out = np.zeros((*scaled, *array.shape[2:]))
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    for i in range(scaled[0]):
        for j in range(scaled[1]):
            right, down = j + 0.5 - scaled[1] / 2, i + 0.5 - scaled[0] / 2
            x = (cos * right - sin * down + scaled[1] / 2) * width / scaled[1] - 0.5
            y = (sin * right + cos * down + scaled[0] / 2) * height / scaled[0] - 0.5
            if array.ndim == 2:
                row, column = math.floor(y + 0.5), math.floor(x + 0.5)
                inside = 0 <= row < height and 0 <= column < width
                out[i, j] = array[row, column] if inside else fill[0]
                continue
            x0, y0 = math.floor(x), math.floor(y)
            if not (-1 <= x0 < width and -1 <= y0 < height):
                out[i, j] = fill
                continue
            u, v = x - x0, y - y0
            above = (1 - u) * padded[y0 + 1, x0 + 1] + u * padded[y0 + 1, x0 + 2]
            below = (1 - u) * padded[y0 + 2, x0 + 1] + u * padded[y0 + 2, x0 + 2]
            out[i, j] = (1 - v) * above + v * below
    return out


@pytest.mark.parametrize(("angle", "scaled"), [(10.0, (40, 56)), (-37.0, (40, 56)), (7.5, (52, 40)), (-10.0, (23, 60))])
def test_rotation_with_scale(angle: float, scaled: tuple[int, int]) -> None:
    image = smooth(40, 56)
    label = (np.add.outer(np.arange(40) // 8, np.arange(56) // 8) % 7).astype(np.uint8)
    picture = _image_window(image, scaled, (0, 0), scaled, angle=angle, how="bilinear", fill=FILL)
    truth = turned(image, angle, scaled, fill=FILL)
    assert np.abs(picture - truth).max() <= 6  # 1/32 of a pixel on a steep image
    assert np.abs(picture - truth).mean() < 0.7
    piece = _label_window(label, scaled, (0, 0), scaled, angle=angle)
    assert (piece != turned(label, angle, scaled, fill=(255,))).mean() < 0.005  # ties
    assert set(np.unique(piece)) <= {*range(7), 255}
    assert (piece == 255).any()


@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (-90, 3), (180, 2)])
def test_right_angles_are_exact(angle: float, turns: int) -> None:
    image, label = coordinates(20, 20)
    picture = _image_window(image, (20, 20), (0, 0), (20, 20), angle=angle, how="bilinear", fill=FILL)
    assert np.array_equal(picture, np.rot90(image, turns))
    piece = _label_window(label, (20, 20), (0, 0), (20, 20), angle=angle)
    assert np.array_equal(piece, np.rot90(label, turns))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 180), st.tuples(st.integers(12, 50), st.integers(12, 50)), st.integers(0, 99))
def test_window_of_a_rotation(angle: float, scaled: tuple[int, int], seed: int) -> None:
    image = smooth(30, 34)
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, scaled[0] + 1)), int(rng.integers(1, scaled[1] + 1))
    corner = int(rng.integers(scaled[0] - size[0] + 1)), int(rng.integers(scaled[1] - size[1] + 1))
    window = slice(corner[0], corner[0] + size[0]), slice(corner[1], corner[1] + size[1])
    for how in ("bilinear", "bicubic"):
        whole = _image_window(image, scaled, (0, 0), scaled, angle=angle, how=how, fill=FILL)
        part = _image_window(image, scaled, corner, size, angle=angle, how=how, fill=FILL)
        assert np.abs(whole[window].astype(int) - part).max() <= 8
    for label in np.meshgrid(np.arange(30), np.arange(34), indexing="ij"):  # of a pixel: its row, its column
        label = label.astype(np.uint8)
        whole = _label_window(label, scaled, (0, 0), scaled, angle=angle)[window].astype(int)
        part = _label_window(label, scaled, corner, size, angle=angle).astype(int)
        shown = (whole != 255) & (part != 255)
        assert ((whole == 255) != (part == 255)).sum() <= 3  # ties at the border
        assert np.abs(whole - part)[shown].max(initial=0) <= 1


def test_rotations_are_drawn_to_either_side() -> None:
    image, label = coordinates(60, 60)
    tilts = []
    for seed in range(120):
        piece = sample(image, label, (60, 60), seed, rotation=10.0, rotation_probability=0.5)[1]
        bare = piece == 255
        tilts.append(int(bare[:30, :30].sum() > 0) * (1 if bare[0, :30].sum() > bare[0, 30:].sum() else -1))
    assert 0.35 < np.mean(np.array(tilts) != 0) < 0.65
    assert min(tilts) == -1
    assert max(tilts) == 1
    always = [sample(image, label, (60, 60), seed, rotation=10.0)[1] for seed in range(20)]
    assert sum((piece == 255).any() for piece in always) > 15  # below a degree nothing is uncovered


def test_what_a_rotation_uncovers_has_the_colour_of_padding() -> None:
    image, label = np.full((40, 40, 3), 200, np.uint8), np.zeros((40, 40), np.uint8)
    picture, piece = sample(image, label, (40, 40), 1, rotation=45.0)
    bare = cv2.erode((piece == 255).astype(np.uint8), np.ones((3, 3))) == 1
    assert bare.any()
    assert (picture[bare] == FILL).all()


def test_padding_in_the_middle_and_anywhere() -> None:
    image, label = coordinates(10, 12)
    picture, piece = sample(image, label, (15, 13), padding="centre")
    assert np.array_equal(picture[2:12, :12], image)
    assert (piece[:2] == 255).all()
    assert (piece[12:] == 255).all()
    assert (piece[2:12, 12] == 255).all()
    assert (picture[12:] == FILL).all()
    corners = set()
    for seed in range(60):
        piece = sample(image, label, (12, 13), seed, padding="random")[1]
        rows, columns = np.nonzero(piece != 255)
        corners.add((rows.min(), columns.min()))
        assert np.array_equal(piece[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], label)
    assert corners == {(row, column) for row in range(3) for column in range(2)}


def test_colours_of_padding() -> None:
    grey = InputSpec(mean=(0.2, 0.4, 0.6))
    assert padding_colour(AugmentationSpec(), grey) == (0.2, 0.4, 0.6)
    assert padding_colour(AugmentationSpec(), InputSpec(channels="bgr", mean=(0.2, 0.4, 0.6))) == (0.6, 0.4, 0.2)
    assert padding_colour(AugmentationSpec(padding_colour="black"), grey) == (0, 0, 0)


@pytest.mark.parametrize(("how", "filter_"), [("lanczos", "LANCZOS"), ("pillow_bicubic", "BICUBIC")])
@pytest.mark.parametrize("scale", [0.5, 0.73, 1.6])
def test_filtered_windows_equal_pillow_then_crop(how: str, filter_: str, scale: float) -> None:
    image, label = smooth(60, 80), (smooth(60, 80)[..., 0] // 30).astype(np.uint8)
    height, width = round(60 * scale), round(80 * scale)
    whole = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling[filter_])).astype(int)
    for seed in range(4):
        picture = sample(image, label, (24, 28), seed, scale=(scale, scale), interpolation=how)[0]
        found = [
            np.abs(whole[top : top + 24, left : left + 28] - picture).max()
            for top in range(height - 23)
            for left in range(width - 27)
        ]
        assert min(found) <= 1


def test_mapped_images_are_only_read(tmp_path) -> None:
    image, label = coordinates(40, 50)
    (tmp_path / "pixels").write_bytes(image.tobytes() + label.tobytes())
    pixels = np.memmap(tmp_path / "pixels", mode="r", dtype=np.uint8)
    mapped = pixels[: image.size].reshape(image.shape), pixels[image.size :].reshape(label.shape)
    for how in ("bilinear", "bicubic", "lanczos"):
        for rotation in (0.0, 20.0) if how != "lanczos" else (0.0,):
            spec = {"scale": (0.5, 1.5), "flip": 0.5, "rotation": rotation, "interpolation": how}
            pairs = sample(*mapped, (24, 30), 3, **spec), sample(image, label, (24, 30), 3, **spec)
            for ours, theirs in zip(*pairs, strict=True):
                assert np.array_equal(ours, theirs)
                assert ours.flags.writeable
                assert not isinstance(ours, np.memmap)


def test_samples_of_a_batch_that_decides_together_are_merely_cropped() -> None:
    spec = AugmentationSpec(
        scale=(0.75, 1.75), flip=0.5, classmix=0.2, decisions="batch", padding="random", padding_colour="black"
    )
    assert of_sample(spec) == AugmentationSpec(padding="random", padding_colour="black")
    alone = AugmentationSpec(scale=(0.75, 1.75), flip=0.5)
    assert of_sample(alone) == alone


@pytest.mark.parametrize("padding", ["end", "centre", "random"])
def test_places_say_where_every_label_comes_from(padding: str) -> None:
    """Looking the picture up at the places gives the label that was cut."""
    height, width = 40, 50
    label = (np.arange(height)[:, None] * 5 + np.arange(width)[None]).astype(np.uint8) % 200
    image = np.zeros((height, width, 3), np.uint8)
    spec = AugmentationSpec(scale=(0.5, 2.0), aspect=(0.8, 1.25), flip=0.5, padding=padding)
    flips = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        cut = training_sample(image, label, crop=(36, 64), spec=spec, fill=FILL, rng=rng)
        assert cut.rows.dtype == cut.columns.dtype == np.float32
        inside = (cut.rows < 1)[:, None] & (cut.columns < 1)[None]
        assert np.array_equal(inside, cut.label != 255)
        rows = np.minimum(np.round(cut.rows * height).astype(int), height - 1)
        columns = np.minimum(np.round(cut.columns * width).astype(int), width - 1)
        assert np.array_equal(label[rows][:, columns][inside], cut.label[inside])
        within = cut.columns[cut.columns < 1]
        flips += bool(within[0] > within[-1])
    assert 5 < flips < 25
