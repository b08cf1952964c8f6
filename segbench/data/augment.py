"""Geometry of a training sample on uint8 arrays: scale, aspect, crop, flip. Free of torch.

Equal to "resize the whole image, then crop" but only the crop's own window is resampled, and once. Images are
resampled with plain bilinear or bicubic weights at half-pixel centres (no low-pass when shrinking, as
``cv2.resize``), at a precision of 1/32 pixel; labels take the nearest pixel.
"""

import math

import cv2
import numpy as np

from segbench.core import support
from segbench.core.errors import InvalidFault
from segbench.core.spec import AugmentationSpec, Size

from .classes import IGNORE
from .resample import nearest

_FILTERS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def check_supported(spec: AugmentationSpec) -> None:
    """Raise InvalidFault with a line for each field that asks for what is not built yet, or makes no sense."""
    faults = [str(lack) for lack in support.of_augmentation(spec)]
    for name in ("scale", "aspect"):
        low, high = getattr(spec, name)
        if not 0 < low <= high:
            faults.append(f"augmentation.{name}: {low} to {high} is no range of positive factors.")
    if faults:
        raise InvalidFault(*faults)


def training_sample(
    image: np.ndarray,
    label: np.ndarray,
    *,
    crop: Size,
    spec: AugmentationSpec,
    fill: tuple[int, int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut one training sample out of an image.

    Where the scaled image is smaller than the crop, it is padded at the bottom and at the right.

    Args:
        image: uint8 (H, W, 3).
        label: uint8 (H, W) train ids.
        crop: (height, width) of the result.
        spec: what to do; scale ``s`` and aspect ``a`` make the image ``s * sqrt(a)`` wide and ``s / sqrt(a)`` high.
        fill: colour of the padding, in the image's channel order.
        rng: dice of this sample.

    Returns:
        uint8 (h, w, 3) and uint8 (h, w), both of their own memory.
    """
    height, width = _scaled_size(label.shape, spec, rng)
    image_fill = tuple(float(value) for value in fill)
    rows, columns = min(crop[0], height), min(crop[1], width)
    best = None
    for _ in range(spec.crop_draws if spec.max_class_share is not None else 1):
        top = int(rng.integers(height - rows + 1))
        left = int(rng.integers(width - columns + 1))
        piece = _label_window(label, (height, width), (top, left), (rows, columns))
        best = (top, left, piece)
        if spec.max_class_share is None or largest_share(piece) <= spec.max_class_share:
            break
    assert best is not None
    top, left, piece = best
    picture = _image_window(image, (height, width), (top, left), (rows, columns), how=_FILTERS[spec.interpolation])
    flip = rng.random() < spec.flip
    if flip:
        picture, piece = picture[:, ::-1], piece[:, ::-1]
    if (rows, columns) != crop:
        below, beside = crop[0] - rows, crop[1] - columns
        picture = cv2.copyMakeBorder(
            np.ascontiguousarray(picture), 0, below, 0, beside, cv2.BORDER_CONSTANT, value=image_fill
        )
        piece = np.pad(piece, ((0, below), (0, beside)), constant_values=IGNORE)
    return _own(picture, image), _own(piece, label)


def largest_share(label: np.ndarray) -> float:
    """Share of the commonest class among the labelled pixels; 1 if nothing is labelled."""
    counts = np.bincount(label.ravel(), minlength=256)[:IGNORE]
    total = int(counts.sum())
    return float(counts.max()) / total if total else 1.0


def _scaled_size(shape: tuple[int, ...], spec: AugmentationSpec, rng: np.random.Generator) -> Size:
    low, high = spec.scale
    scale, aspect = 1.0, 1.0
    if spec.scale_probability >= 1 or rng.random() < spec.scale_probability:
        if spec.scale_step is None:
            scale = float(rng.uniform(low, high))
        else:
            steps = math.floor((high - low) / spec.scale_step + 1e-6)
            scale = low + spec.scale_step * int(rng.integers(steps + 1))
    if spec.aspect != (1.0, 1.0):
        aspect = float(rng.uniform(*spec.aspect))
    height = max(1, round(shape[0] * scale / math.sqrt(aspect)))
    return height, max(1, round(shape[1] * scale * math.sqrt(aspect)))


def _image_window(image: np.ndarray, scaled: Size, corner: tuple[int, int], size: Size, *, how: int) -> np.ndarray:
    """The window of the image as it were after scaling, (rows, columns, 3)."""
    (top, left), (rows, columns) = corner, size
    if image.shape[:2] == scaled:
        return image[top : top + rows, left : left + columns]
    step_y, step_x = image.shape[0] / scaled[0], image.shape[1] / scaled[1]
    # Only the source rows and columns that the weights (up to four a side) touch; the image's borders are repeated.
    y0, y1 = _touched(top, rows, step_y, image.shape[0])
    x0, x1 = _touched(left, columns, step_x, image.shape[1])
    matrix = np.array(
        [
            [step_x, 0, (left + 0.5) * step_x - 0.5 - x0],
            [0, step_y, (top + 0.5) * step_y - 0.5 - y0],
        ]
    )
    return cv2.warpAffine(
        image[y0:y1, x0:x1],
        matrix,
        (columns, rows),
        flags=how | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _touched(start: int, count: int, step: float, limit: int) -> tuple[int, int]:
    first = math.floor((start + 0.5) * step - 0.5)
    last = math.ceil((start + count - 0.5) * step - 0.5)
    return max(first - 1, 0), min(last + 2, limit)


def _label_window(label: np.ndarray, scaled: Size, corner: tuple[int, int], size: Size) -> np.ndarray:
    """The window of the label as it were after scaling, (rows, columns); nearest pixel at half-pixel centres."""
    (top, left), (rows, columns) = corner, size
    if label.shape == scaled:
        return label[top : top + rows, left : left + columns]
    y = nearest(label.shape[0], scaled[0], start=top, count=rows)
    x = nearest(label.shape[1], scaled[1], start=left, count=columns)
    return label[y][:, x]


def _own(array: np.ndarray, source: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    return array.copy() if np.shares_memory(array, source) else array
