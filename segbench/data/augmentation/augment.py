"""Geometry of a training sample on uint8 arrays: scale, aspect, rotation, crop, flip. Free of torch.

Equal to "resize and rotate the whole image, then crop", but only the window of the crop is resampled, and once. Images
are resampled at half-pixel centres: with plain bilinear or bicubic weights (no low-pass when shrinking, as
``cv2.resize``), at a precision of 1/32 pixel, or with Pillow's filters, which widen when they shrink. Labels
take the nearest pixel.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from segbench.core.spec import AugmentationSpec, InputSpec, Size
from segbench.data.classes import IGNORE
from segbench.data.resample import Filter, filtered_window, nearest

OUTSIDE = 1.0  # relative position of padding
_PILLOW: dict[str, Filter] = {"pillow_bicubic": "bicubic", "lanczos": "lanczos"}
_FILTERS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


class Cut(NamedTuple):
    """One training sample.

    Attributes:
        image: uint8 (h, w, 3).
        label: uint8 (h, w) train ids.
        rows: float32 (h,), source row of each row of the label divided by the number of rows, in [0, 1), before any
            rotation; 1 in the padding.
        columns: float32 (w,), the same for columns.
    """

    image: np.ndarray
    label: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def of_sample(spec: AugmentationSpec) -> AugmentationSpec:
    """Return the augmentation of single samples: only crop and padding if the images of a batch are drawn together."""
    if spec.decisions == "image":
        return spec
    return AugmentationSpec(padding=spec.padding, padding_colour=spec.padding_colour)


def padding_colour(spec: AugmentationSpec, input: InputSpec) -> tuple[float, float, float]:
    """Return the padding colour, RGB in [0, 1]; the mean is normalized to 0."""
    if spec.padding_colour == "black":
        return 0.0, 0.0, 0.0
    mean = input.mean
    return mean if input.channels == "rgb" else (mean[2], mean[1], mean[0])


def training_sample(
    image: np.ndarray,
    label: np.ndarray,
    *,
    crop: Size,
    spec: AugmentationSpec,
    fill: tuple[int, int, int],
    rng: np.random.Generator,
    around: Size | None = None,
) -> Cut:
    """Cut one training sample out of an image.

    Args:
        image: uint8 (H, W, 3); may be read-only or mapped, only what the crop shows is read.
        label: uint8 (H, W) train ids.
        crop: (height, width) of the result.
        spec: what to do; scale ``s`` and aspect ``a`` make the image ``s * sqrt(a)`` wide and ``s / sqrt(a)`` high.
            The scaled image is rotated about its centre and keeps its size.
        fill: colour of the padding and of what a rotation uncovers, in the image's channel order.
        rng: generator of this sample.
        around: row and column of the image that the crop must show; None for any crop.

    Returns:
        The sample; image and label own their memory.
    """
    whole = _scaled_size(label.shape, spec, rng)
    angle = 0.0
    if spec.rotation and rng.random() < spec.rotation_probability:
        angle = float(rng.uniform(-spec.rotation, spec.rotation))
    size = min(crop[0], whole[0]), min(crop[1], whole[1])
    row, column = (None, None) if around is None else map(_scaled_place, around, label.shape, whole)
    best = None
    for _ in range(spec.crop_draws if spec.max_class_share is not None else 1):
        corner = _start(whole[0], size[0], row, rng), _start(whole[1], size[1], column, rng)
        piece = _label_window(label, whole, corner, size, angle=angle)
        best = (corner, piece)
        if spec.max_class_share is None or largest_share(piece) <= spec.max_class_share:
            break
    assert best is not None
    corner, piece = best
    picture = _image_window(image, whole, corner, size, angle=angle, how=spec.interpolation, fill=fill)
    rows, columns = (_places(label.shape[side], whole[side], corner[side], size[side]) for side in (0, 1))
    if rng.random() < spec.flip:
        columns = columns[::-1]
        picture, piece = cv2.flip(picture, 1), cv2.flip(piece, 1)  # copying a reversed view is 40 times slower
    if size != crop:
        (above, below), (before, after) = (_pad(crop[side] - size[side], spec, rng) for side in (0, 1))
        borders = above, below, before, after
        picture = np.ascontiguousarray(picture)
        picture = cv2.copyMakeBorder(picture, *borders, cv2.BORDER_CONSTANT, value=tuple(map(float, fill)))
        piece = np.pad(piece, ((above, below), (before, after)), constant_values=IGNORE)
        rows = np.pad(rows, (above, below), constant_values=OUTSIDE)
        columns = np.pad(columns, (before, after), constant_values=OUTSIDE)
    return Cut(_own(picture, image), _own(piece, label), rows, np.ascontiguousarray(columns))


def _scaled_place(place: int, length: int, scaled: int) -> int:
    """Return the target pixel that holds the centre of a source pixel."""
    return (2 * place + 1) * scaled // (2 * length)


def _start(length: int, count: int, shown: int | None, rng: np.random.Generator) -> int:
    """Return the start of a window of ``count`` of ``length`` pixels.

    A window that must show a pixel is drawn uniformly among those that do, then moved inside the image.
    """
    if shown is None:
        return int(rng.integers(length - count + 1))
    return min(max(int(rng.integers(shown - count + 1, shown + 1)), 0), length - count)


def _places(length: int, scaled: int, start: int, count: int) -> np.ndarray:
    return (nearest(length, scaled, start=start, count=count) / length).astype(np.float32)


def largest_share(label: np.ndarray) -> float:
    """Return the fraction of the most frequent class among the labelled pixels; 1 if none is labelled."""
    counts = np.bincount(label.ravel(), minlength=256)[:IGNORE]
    total = int(counts.sum())
    return float(counts.max()) / total if total else 1.0


def draw_scale(spec: AugmentationSpec, rng: np.random.Generator) -> float:
    """Draw the scale of one sample or batch; 1 if it is not rescaled."""
    if spec.scale_probability < 1 and rng.random() >= spec.scale_probability:
        return 1.0
    low, high = spec.scale
    if spec.scale_step is None:
        return float(rng.uniform(low, high))
    steps = math.floor((high - low) / spec.scale_step + 1e-6)
    return low + spec.scale_step * int(rng.integers(steps + 1))


def _scaled_size(shape: tuple[int, ...], spec: AugmentationSpec, rng: np.random.Generator) -> Size:
    scale, aspect = draw_scale(spec, rng), 1.0
    if spec.aspect != (1.0, 1.0):
        aspect = float(rng.uniform(*spec.aspect))
    height = max(1, round(shape[0] * scale / math.sqrt(aspect)))
    return height, max(1, round(shape[1] * scale * math.sqrt(aspect)))


def _pad(missing: int, spec: AugmentationSpec, rng: np.random.Generator) -> tuple[int, int]:
    """Return the padding before and after; an odd pixel of centred padding comes after."""
    before = 0
    if spec.padding == "centre":
        before = missing // 2
    elif spec.padding == "random":
        before = int(rng.integers(missing + 1))
    return before, missing - before


def _image_window(
    image: np.ndarray, scaled: Size, corner: Size, size: Size, *, angle: float, how: str, fill: tuple[int, int, int]
) -> np.ndarray:
    """Return a window of the scaled and rotated image, (rows, columns, 3)."""
    (top, left), (rows, columns) = corner, size
    if image.shape[:2] == scaled and not angle:
        return image[top : top + rows, left : left + columns]
    if how in _PILLOW:
        return filtered_window(image, scaled, corner, size, how=_PILLOW[how])
    # A scaled image repeats its borders; a rotated one is surrounded by the fill colour.
    border = cv2.BORDER_CONSTANT if angle else cv2.BORDER_REPLICATE
    return _warped(image, scaled, corner, size, angle=angle, how=_FILTERS[how], border=border, fill=fill)


def _label_window(label: np.ndarray, scaled: Size, corner: Size, size: Size, *, angle: float) -> np.ndarray:
    """Return a window of the scaled and rotated label, (rows, columns); nearest pixel at half-pixel centres."""
    (top, left), (rows, columns) = corner, size
    if angle:
        options = {"how": cv2.INTER_NEAREST, "border": cv2.BORDER_CONSTANT}
        return _warped(label, scaled, corner, size, angle=angle, fill=(IGNORE,), **options)
    if label.shape == scaled:
        return label[top : top + rows, left : left + columns]
    y = nearest(label.shape[0], scaled[0], start=top, count=rows)
    x = nearest(label.shape[1], scaled[1], start=left, count=columns)
    window = label[:, x[0] : x[-1] + 1]
    # Indexing rows copies whole rows, indexing columns single values, ten times slower: so columns become rows.
    return cv2.transpose(cv2.transpose(window[y])[x - x[0]])


def _warped(
    array: np.ndarray,
    scaled: Size,
    corner: Size,
    size: Size,
    *,
    angle: float,
    how: int,
    border: int,
    fill: tuple[int, ...],
) -> np.ndarray:
    """Sample a window through one affine map: corner of the crop, rotation, scale.

    Target pixel (x, y) shows source pixel ``S (c + R ((x, y) + corner + 1/2 - c)) - 1/2`` with the middle c of the
    scaled image, R the inverse of a counter-clockwise turn by ``angle`` degrees and S the scaling back.
    """
    (top, left), (rows, columns) = corner, size
    step = np.array([array.shape[1] / scaled[1], array.shape[0] / scaled[0]])
    turn = math.radians(angle)
    back = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    middle = np.array([scaled[1], scaled[0]]) / 2 if angle else np.zeros(2)
    matrix = step[:, None] * back
    offset = step * (middle + back @ (np.array([left, top]) + 0.5 - middle)) - 0.5
    # Only the source rows and columns that the weights (up to four a side) touch.
    corners = np.array([[0, columns - 1, 0, columns - 1], [0, 0, rows - 1, rows - 1]])
    reached = matrix @ corners + offset[:, None]
    limits = np.array([array.shape[1], array.shape[0]])
    x0, y0 = np.maximum(np.floor(reached.min(axis=1)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(reached.max(axis=1)).astype(int) + 2, limits)
    if x0 >= x1 or y0 >= y1:  # rotated out of the window
        return np.full((rows, columns, *array.shape[2:]), fill if array.ndim == 3 else fill[0], array.dtype)
    window = array[y0:y1, x0:x1]
    wide = how == cv2.INTER_LINEAR and array.ndim == 3  # the same pixels in half the time, in registers of four
    warped = cv2.warpAffine(
        cv2.cvtColor(window, cv2.COLOR_RGB2RGBA) if wide else window,
        np.column_stack([matrix, offset - (x0, y0)]),
        (columns, rows),
        flags=how | cv2.WARP_INVERSE_MAP,
        borderMode=border,
        borderValue=tuple(float(value) for value in fill),
    )
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB) if wide else warped


def _own(array: np.ndarray, source: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    return array.copy() if np.shares_memory(array, source) else array
