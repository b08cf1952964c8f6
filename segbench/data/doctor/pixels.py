"""Read every pair once: can it be decoded, is it what it should be, which values does its label hold?"""

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

VALUES = "values"  # kind of a fault that another numbering may explain
_EXACT_PIXELS = 1 << 24  # cv2 hands counts out as float32, which holds every integer up to here


@dataclass
class Seen:
    """One pair: what is wrong with it, and what goes into the counts.

    Attributes:
        pair: the pair.
        size: (height, width) of the image, None if it cannot be read.
        histogram: pixels with each raw value, int64 (256,); None without a readable label.
        image_kind: what the image file is.
        label_kind: what the label file is; empty without one.
        findings: faults and notes.
    """

    pair: Pair
    size: tuple[int, int] | None = None
    histogram: np.ndarray | None = None
    image_kind: str = ""
    label_kind: str = ""
    findings: list[Finding] = field(default_factory=list)


def look_at_all(work: Sequence[Pair], case: Case) -> Generator[Seen, None, None]:
    """Every pair in its order, read by several threads; closing it early stops them too."""
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(lambda pair: look(pair, case), work)
    finally:
        pool.shutdown(cancel_futures=True)


def look(pair: Pair, case: Case) -> Seen:
    """Read one pair."""
    seen = Seen(pair)
    _look_at_image(seen, case)
    if pair.label is not None:
        _look_at_label(seen, pair.label, case)
    if pair.instances is not None and pair.instances.is_file():
        _look_at_instances(seen, pair.instances, case)
    return seen


def count(seen: Seen, tally: Tally, case: Case) -> None:
    """Add a pair to the counts of its split."""
    if seen.size is not None:
        height, width = seen.size
        low, left = (tally.heights[0], tally.widths[0]) if tally.images else seen.size
        tally.heights = min(low, height), max(tally.heights[1], height)
        tally.widths = min(left, width), max(tally.widths[1], width)
        tally.images += 1
        tally.image_kinds[seen.image_kind] += 1
    if seen.histogram is not None:
        tally.labels += 1
        tally.label_kinds[seen.label_kind] += 1
        tally.raw += seen.histogram
        there = {train_id for value, train_id in case.table.values if seen.histogram[value]}
        tally.images_with[sorted(there & set(range(case.table.num_classes)))] += 1


def histogram(values: np.ndarray) -> np.ndarray:
    """Number of pixels with each value of a uint8 array (H, W), int64 (256,)."""
    if 0 < values.size <= _EXACT_PIXELS:
        return cv2.calcHist([np.ascontiguousarray(values)], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return np.bincount(values.ravel(), minlength=256).astype(np.int64)


def _look_at_image(seen: Seen, case: Case) -> None:
    path = seen.pair.image
    try:
        image = read_image(path)
    except BrokenFile as error:
        _fault(seen, case, "broken image", f"{path} {error.reason}; get it anew.")
        return
    height, width = image.shape[:2]
    seen.size = height, width
    seen.image_kind = str(kind_of(path))
    native = case.options.native_size
    if native is not None and native != seen.size:
        text = f"{path} is {_by(seen.size)}; this copy of {case.options.title} has {_by(native)}."
        _fault(seen, case, "size", text)


def _look_at_label(seen: Seen, path: Path, case: Case) -> None:
    kind = kind_of(path)
    try:
        values = label_reader(case.name)(path)
    except BrokenFile as error:
        sort = "broken label" if _torn(path) else "label format"
        _fault(seen, case, sort, f"{path} {error.reason}; get it anew.")
        return
    if kind.changes_values:
        text = f"{path} is a {kind}, which does not keep label values as they are; get it anew."
        _fault(seen, case, "label format", text)
        return
    if seen.size is not None and seen.size != values.shape:
        turned = " (one of them is turned)" if seen.size == values.shape[::-1] else ""
        text = f"{path} is {_by(values.shape)} but its image {_by(seen.size)}{turned}; they must be equal."
        _fault(seen, case, "sizes", text)
    seen.histogram = histogram(values)
    seen.label_kind = str(kind)
    known = {value for value, _ in case.table.values}
    outside = [int(value) for value in np.flatnonzero(seen.histogram) if value not in known]
    if outside:
        text = f"{path} has label values {', '.join(map(str, outside))}; allowed are {spans(sorted(known))}."
        _fault(seen, case, VALUES, text)


def _look_at_instances(seen: Seen, path: Path, case: Case) -> None:
    """By header and structure: only metrics of instances decode these files."""
    torn, size = _torn(path), header_size(path)
    if torn:
        _fault(seen, case, "broken instances", f"{path} {torn}; get it anew.")
    elif size is not None and seen.size is not None and size != seen.size:
        text = f"{path} is {_by(size)} but its image {_by(seen.size)}; they must be equal."
        _fault(seen, case, "sizes", text)


def _torn(path: Path) -> str | None:
    """What is wrong with a file without decoding it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return fault(path, data) if data else "is empty"


def _fault(seen: Seen, case: Case, kind: str, text: str) -> None:
    seen.findings.append(Finding("fault", text, case.again, kind))


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
