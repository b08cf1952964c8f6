"""Prediction of one image by an evaluation protocol: sizes, windows, scales, mirrored views and their fusion.

Scores of one image at most are held at full size, on the device; only a uint8 label map leaves it.
"""

import contextlib
import math
from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from segbench.core.spec import EvaluationSpec, InputSpec, PadSpec, Size
from segbench.data.colour import normalise
from segbench.models.segmentor import Segmentor

from .exponentials import log_sum
from .runtime import Runtime
from .windows import places

WINDOWS_AT_ONCE = 2


def predict(
    segmentor: Segmentor,
    image: Tensor,
    spec: EvaluationSpec,
    *,
    input: InputSpec,
    size: Size,
    runtime: Runtime,
) -> Tensor:
    """Predict the train ids of one image.

    Args:
        segmentor: network in evaluation mode.
        image: (1, 3, H, W) uint8 RGB on the device.
        spec: evaluation protocol.
        input: channel order and normalisation.
        size: (h, w) of the result.
        runtime: device and precision.

    Returns:
        (1, h, w) uint8.
    """
    views = _views(segmentor, _fed(image, input), spec, runtime)
    if len(spec.scales) == 1 and not spec.flip:
        ((scores, _),) = views
        return _enlarged(segmentor, scores, size).argmax(1).to(torch.uint8)
    if spec.fuse == "exp_logits":
        return log_sum(views, size, align_corners=segmentor.align_corners).argmax(1).to(torch.uint8)
    total: Tensor | None = None
    for scores, mirrored in views:
        scored = _enlarged(segmentor, scores, size)
        if mirrored:
            scored = scored.flip(-1)
        if spec.fuse == "probabilities" and spec.overlap == "logits":
            scored = _shares(segmentor, scored)
        total = scored if total is None else total.add_(scored)
    assert total is not None
    return total.argmax(1).to(torch.uint8)


@contextlib.contextmanager
def eval_mode(network: nn.Module, runtime: Runtime) -> Iterator[None]:
    """Put a network into evaluation mode, uncompiled and without kernel benchmarking; every mode is restored after."""
    before = [(module, module.training) for module in network.modules()]
    benchmark = torch.backends.cudnn.benchmark
    network.eval()
    # Benchmarking kernels for each image size takes longer than it saves, and could change a score.
    torch.backends.cudnn.benchmark = False
    try:
        # Image sizes differ, and each would be compiled.
        with torch.compiler.set_stance("force_eager") if runtime.compile else contextlib.nullcontext():
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
        for module, mode in before:
            module.training = mode


def seen_size(size: Size, spec: EvaluationSpec, *, scale: float = 1.0) -> Size:
    """Return (height, width) of the network's input for an image of that size or a window of it, padding included."""
    height, width = _padded(_resized(size, spec, scale), spec)
    window = spec.window if spec.mode == "slide" else None
    return (height, width) if window is None else (min(height, window[0]), min(width, window[1]))


def _views(
    segmentor: Segmentor, image: Tensor, spec: EvaluationSpec, runtime: Runtime
) -> Iterator[tuple[Tensor, bool]]:
    """Yield the scores (1, C, h, w) of each view of the whole image, of any size, and whether they are mirrored.

    A mirrored view follows its original. Scores that are exponentiated later have the size of the network's input.
    """
    slides = spec.mode == "slide"
    as_shown = spec.enlarge == "twice" or (spec.fuse == "exp_logits" and (spec.flip or len(spec.scales) > 1))
    for scale in spec.scales:
        own = (image.shape[-2], image.shape[-1])
        size = _resized(own, spec, scale)
        # Without anti-aliasing, as evaluation codes of the field do.
        view = image if size == own else F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        full = _padded(size, spec)
        rows = _rows(size, full, spec.pad, image.device) if segmentor.wants_rows else None
        views = [_pad(each, full, spec.pad) for each in ([view, view.flip(-1)] if spec.flip else [view])]
        if slides and spec.flip and spec.mirror == "window":
            views = views[:1]
        if slides and _is_cut(full, spec):
            for number, each in enumerate(views):
                scores = _slide(segmentor, each, rows, spec, runtime)
                yield _cropped(scores, size, spec.pad), bool(number)
            continue
        together = torch.cat(views) if len(views) > 1 else views[0]
        for number, logits in enumerate(_forward(segmentor, together, rows, runtime).split(1)):
            if full != size or as_shown:
                logits = _cropped(segmentor.resize(logits, full), size, spec.pad)
            yield logits, bool(number)


def _fed(image: Tensor, input: InputSpec) -> Tensor:
    """Return the normalised input (1, 3, H, W) float32; on a CPU by a look-up table, with the same bits."""
    if image.device.type != "cpu":
        return normalise(image.float() / 255.0, input)
    pixels = image[0].permute(1, 2, 0).numpy()
    if input.channels == "bgr":
        pixels = pixels[..., ::-1]
    values = cv2.LUT(np.ascontiguousarray(pixels), _table(input))
    return torch.from_numpy(values).permute(2, 0, 1)[None]


@cache
def _table(input: InputSpec) -> NDArray[np.float32]:
    """Return the normalised values of 0..255, (1, 256, 3), in the network's channel order."""
    levels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    table = normalise(levels.float() / 255.0, input)
    return np.ascontiguousarray(table[0].permute(1, 2, 0).numpy())


def _enlarged(segmentor: Segmentor, scores: Tensor, size: Size) -> Tensor:
    """Upsample scores to the size of the result."""
    if scores.device.type == "cpu":
        # Channels last, a CPU resizes, exponentiates and compares several times as fast; the values are the same.
        scores = scores.contiguous(memory_format=torch.channels_last)
    return segmentor.resize(scores, size)


def _shares(segmentor: Segmentor, scores: Tensor) -> Tensor:
    """Return probabilities; votes are returned as they are."""
    return scores if segmentor.votes else scores.softmax(1)


def _resized(size: Size, spec: EvaluationSpec, scale: float) -> Size:
    """Return the size after resizing, before padding.

    ``short_side`` and ``max_side`` as mmcv's ``rescale_size`` (both grow with the scale), ``multiple_of`` as its
    ``imresize_to_multiple``.
    """
    height, width = size
    if spec.short_side is None:
        height, width = round(height * scale), round(width * scale)
    else:
        factor = scale * spec.short_side / min(size)
        if spec.max_side is not None:
            factor = min(factor, scale * spec.max_side / max(size))
        height, width = int(height * factor + 0.5), int(width * factor + 0.5)
    unit = spec.multiple_of or 1
    return math.ceil(height / unit) * unit, math.ceil(width / unit) * unit


def _padded(size: Size, spec: EvaluationSpec) -> Size:
    if spec.pad is None:
        return size
    pad = spec.pad
    window = spec.window if spec.mode == "slide" else None
    height, width = size
    if window is not None and pad.to_window:
        height, width = max(height, window[0]), max(width, window[1])
    if window is not None and (height > window[0] or width > window[1]):
        return height, width  # the input is windows, which have their own size
    return _fitting(height, pad), _fitting(width, pad)


def _fitting(side: int, pad: PadSpec) -> int:
    """Return the smallest ``multiple * k + plus`` that is not below the side."""
    return math.ceil((side - pad.plus) / pad.multiple) * pad.multiple + pad.plus


def _before(size: Size, full: Size, pad: PadSpec | None) -> Size:
    """Return the padding above and left of the image."""
    if pad is None or pad.where == "end":
        return 0, 0
    return (full[0] - size[0]) // 2, (full[1] - size[1]) // 2


def _pad(image: Tensor, full: Size, pad: PadSpec | None) -> Tensor:
    """Pad a normalised image with zeros, the mean colour."""
    size = (image.shape[-2], image.shape[-1])
    if size == full:
        return image
    top, left = _before(size, full, pad)
    return F.pad(image, (left, full[1] - size[1] - left, top, full[0] - size[0] - top))


def _rows(size: Size, full: Size, pad: PadSpec | None, device: torch.device) -> Tensor:
    """Return the places (1, H) of the rows of a padded image, in [0, 1), and 1 in the padding."""
    top, _ = _before(size, full, pad)
    rows = torch.ones(1, full[0], device=device)
    rows[0, top : top + size[0]] = torch.arange(size[0], device=device) / size[0]
    return rows


def _cropped(scores: Tensor, size: Size, pad: PadSpec | None) -> Tensor:
    top, left = _before(size, (scores.shape[-2], scores.shape[-1]), pad)
    return scores[..., top : top + size[0], left : left + size[1]]


def _is_cut(size: Size, spec: EvaluationSpec) -> bool:
    """Return whether windows are cut out of an image of this size."""
    assert spec.window is not None
    together = spec.overlap != "logits" or (spec.flip and spec.mirror == "window")
    return size[0] > spec.window[0] or size[1] > spec.window[1] or together


def _forward(segmentor: Segmentor, images: Tensor, rows: Tensor | None, runtime: Runtime) -> Tensor:
    """Return the logits of images of one size, computed one by one if the device runs out of memory.

    ``rows`` are the places (N, H), or (1, H) for all images, for a network that wants them.
    """
    if runtime.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    try:
        with runtime.autocast():
            if rows is None:
                return segmentor(images).logits
            return segmentor(images, rows.expand(len(images), -1)).logits
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
    # Outside of the handler, as an exception keeps the tensors of the call that raised it.
    torch.cuda.empty_cache()
    each = [None] * len(images) if rows is None else rows.expand(len(images), -1).split(1)
    return torch.cat([_forward(segmentor, *one, runtime) for one in zip(images.split(1), each, strict=True)])


def _slide(segmentor: Segmentor, image: Tensor, rows: Tensor | None, spec: EvaluationSpec, runtime: Runtime) -> Tensor:
    """Return the mean of overlapping windows, or their sum, (1, C, H, W)."""
    assert spec.window is not None
    height, width = image.shape[-2:]
    window = (min(spec.window[0], height), min(spec.window[1], width))
    mirrors = spec.flip and spec.mirror == "window"
    total = image.new_zeros(1, segmentor.num_classes, height, width)
    times = image.new_zeros(1, 1, height, width)
    windows = places((height, width), window, spec.stride or spec.window, placing=spec.placing)
    at_once = 1 if mirrors else WINDOWS_AT_ONCE
    for first in range(0, len(windows), at_once):
        some = windows[first : first + at_once]
        batch = torch.cat([image[place] for place in some])
        batch = torch.cat([batch, batch.flip(-1)]) if mirrors else batch
        seen = None if rows is None else torch.cat([rows[:, down] for _, down, _ in some])
        logits = _forward(segmentor, batch, seen, runtime)
        scores = [segmentor.resize(each, window) for each in logits.split(1)]
        if mirrors and spec.mirrored == "logits":
            scores = [scores[0] + scores[1].flip(-1)]
        for number, each in enumerate(scores):
            if spec.overlap == "probabilities":
                each = _shares(segmentor, each)
            place = some[0 if mirrors else number]
            total[place] += each.flip(-1) if mirrors and number else each
            times[place] += 1
    return total if spec.overlap == "sum" else total.div_(times)
