"""Examination of image and label files: decoding, sizes, formats, and counts of label values."""

import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from segbench.data.images import BrokenFile, read_image
from segbench.data.prepared.headers import header_size
from segbench.data.reader import Finding, Pair, label_reader
from segbench.data.truncation import fault

from .case import Case
from .header import kind_of
from .report import Tally, spans

VALUES = "values"  # kind of the fault that another numbering may explain
_EXACT_PIXELS = 1 << 24  # cv2 hands counts out as float32, which holds every integer up to here


@dataclass
class ExaminedPair:
    """One pair with its findings and the values that are counted.

    Attributes:
        pair: the pair.
        size: (height, width) of the image, None if it cannot be read.
        histogram: number of pixels with each raw value, int64 (256,); None without a readable label.
        image_kind: format of the image file.
        label_kind: format of the label file; empty without one.
        findings: faults and notes.
    """

    pair: Pair
    size: tuple[int, int] | None = None
    histogram: np.ndarray | None = None
    image_kind: str = ""
    label_kind: str = ""
    findings: list[Finding] = field(default_factory=list)


def examine_pairs(work: Sequence[Pair], case: Case) -> Generator[ExaminedPair, None, None]:
    """Yield every pair in its order, read by several threads; closing the generator stops them too."""
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(lambda pair: examine_pair(pair, case), work)
    finally:
        pool.shutdown(cancel_futures=True)


def examine_pair(pair: Pair, case: Case) -> ExaminedPair:
    """Read one pair."""
    examined = ExaminedPair(pair)
    _examine_image(examined, case)
    if pair.label is not None:
        _examine_label(examined, pair.label, case)
    if pair.instances is not None and pair.instances.is_file():
        _examine_instances(examined, pair.instances, case)
    return examined


def count(examined: ExaminedPair, tally: Tally, case: Case) -> None:
    """Add a pair to the counts of its split."""
    if examined.size is not None:
        height, width = examined.size
        low, left = (tally.heights[0], tally.widths[0]) if tally.images else examined.size
        tally.heights = min(low, height), max(tally.heights[1], height)
        tally.widths = min(left, width), max(tally.widths[1], width)
        tally.images += 1
        tally.image_kinds[examined.image_kind] += 1
    if examined.histogram is not None:
        tally.labels += 1
        tally.label_kinds[examined.label_kind] += 1
        tally.raw += examined.histogram
        there = {train_id for value, train_id in case.table.values if examined.histogram[value]}
        tally.images_with[sorted(there & set(range(case.table.num_classes)))] += 1


def histogram(values: np.ndarray) -> np.ndarray:
    """Return the number of pixels with each value of a uint8 array (H, W), int64 (256,)."""
    if 0 < values.size <= _EXACT_PIXELS:
        return cv2.calcHist([np.ascontiguousarray(values)], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return np.bincount(values.ravel(), minlength=256).astype(np.int64)


def _examine_image(examined: ExaminedPair, case: Case) -> None:
    path = examined.pair.image
    try:
        image = read_image(path)
    except BrokenFile as error:
        _fault(examined, case, "broken image", f"{path} {error.reason}; replace this file.")
        return
    height, width = image.shape[:2]
    examined.size = height, width
    examined.image_kind = str(kind_of(path))
    native = case.options.native_size
    if native is not None and native != examined.size:
        text = f"{path} is {_shape(examined.size)}; this copy of {case.options.title} has {_shape(native)}."
        _fault(examined, case, "size", text)


def _examine_label(examined: ExaminedPair, path: Path, case: Case) -> None:
    kind = kind_of(path)
    try:
        values = label_reader(case.name)(path)
    except BrokenFile as error:
        sort = "broken label" if _damage(path) else "label format"
        _fault(examined, case, sort, f"{path} {error.reason}; replace this file.")
        return
    if kind.changes_values:
        text = f"{path} is a {kind}, which does not keep label values as they are; replace this file."
        _fault(examined, case, "label format", text)
        return
    if examined.size is not None and examined.size != values.shape:
        rotated = " (one of them is rotated)" if examined.size == values.shape[::-1] else ""
        text = f"{path} is {_shape(values.shape)} but its image {_shape(examined.size)}{rotated}; they must be equal."
        _fault(examined, case, "sizes", text)
    examined.histogram = histogram(values)
    examined.label_kind = str(kind)
    known = {value for value, _ in case.table.values}
    outside = [int(value) for value in np.flatnonzero(examined.histogram) if value not in known]
    if outside:
        text = f"{path} has label values {', '.join(map(str, outside))}; allowed are {spans(sorted(known))}."
        _fault(examined, case, VALUES, text)


def _examine_instances(examined: ExaminedPair, path: Path, case: Case) -> None:
    """Check header and structure only; the metrics of instances decode these files."""
    damage, size = _damage(path), header_size(path)
    if damage:
        _fault(examined, case, "broken instances", f"{path} {damage}; replace this file.")
    elif size is not None and examined.size is not None and size != examined.size:
        text = f"{path} is {_shape(size)} but its image {_shape(examined.size)}; they must be equal."
        _fault(examined, case, "sizes", text)


def _damage(path: Path) -> str | None:
    """Return a fault of a file that shows without decoding it, None if there is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return fault(path, data) if data else "is empty"


def _fault(examined: ExaminedPair, case: Case, kind: str, text: str) -> None:
    examined.findings.append(Finding("fault", text, case.replace_command, kind))


def _shape(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
