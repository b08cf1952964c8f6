"""Is the data what it claims to be? Counts, pairs, sizes, label values, and whether every file can be read.

What was found whole is remembered in the cache folder by names, sizes and times of all files, so that later runs
need not decode everything again. Nothing is ever written to the data folder.
"""

import contextlib
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.core import atomic
from segbench.core.errors import MissingFault, RunFault
from segbench.core.spec import digest

from .classes import IGNORE, ClassTable, class_table
from .facts import DatasetOptions, facts
from .images import BrokenFile, read_image
from .places import cache_root
from .reader import Pair, label_reader, pairs, require_folder

_CHECKS = 1  # raise when a check is added, so that what was remembered before counts no more
_LINES_A_KIND = 5

Faults = dict[str, list[str]]  # kind of fault to one sentence a case


@dataclass(frozen=True)
class Verified:
    """A data set that passed.

    Attributes:
        folder: where it lies.
        lines: what was found, one sentence each.
        remembered: whether an earlier verification of these very files was taken.
    """

    folder: Path
    lines: tuple[str, ...]
    remembered: bool


@dataclass(frozen=True)
class _Checked:
    """What reading one pair found: faults as (kind, sentence), and which train ids occur."""

    faults: tuple[tuple[str, str], ...]
    present: np.ndarray | None


def verify(
    name: str,
    root: Path,
    *,
    options: DatasetOptions | None = None,
    redo: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check a data set completely.

    Args:
        name: of the data set.
        root: the data root.
        options: its facts; None for the registered ones.
        redo: read every file again even if nothing changed since the last verification.
        progress: called with (pairs read, pairs in all).

    Raises:
        MissingFault: the data set is missing or faulty; one line a fault, all of them at once
            (of each kind at most five, then their number).
    """
    options = options or facts(name)
    folder = require_folder(name, root, options)
    faults: Faults = defaultdict(list)
    splits = {split: pairs(name, folder, split) for split in options.splits}
    for split, listed in splits.items():
        _check_listing(split, listed, options, faults)
    everything = [pair for listed in splits.values() for pair in listed]
    whole = [pair for pair in everything if all(file.is_file() for file in pair.files)]
    state = _state(name, folder, whole, options)
    stamp = cache_root() / "verified" / f"{name}-{digest(str(folder.resolve()))}.json"
    if not faults and not redo and (lines := _recall(stamp, state)) is not None:
        return Verified(folder, lines, remembered=True)
    table = class_table(options.table)
    present = _check_pairs(name, whole, options, table, faults, progress)
    if whole and not faults and not all(present):
        absent = ", ".join(table.names[i] for i in np.flatnonzero(~present))
        faults["absent"].append(f"No label contains {absent}: the labels have another numbering or are not complete.")
    if faults:
        again = (
            f"segbench data download {name} --replace" if options.archives else f"segbench data verify {name} --redo"
        )
        raise MissingFault(*_shorten(faults), next=again)
    lines = _summary(splits, options, table)
    if options.content_sha256 is not None:
        same = _content_sha256(splits) == options.content_sha256
        lines += ("every byte equals the reference copy" if same else "not byte for byte the reference copy",)
    _remember(stamp, state, lines)
    return Verified(folder, lines, remembered=False)


def _check_listing(split: str, listed: list[Pair], options: DatasetOptions, faults: Faults) -> None:
    """Counts, and both halves of every pair."""
    expected = " or ".join(f"{count:,}" for count in options.splits[split])
    if len(listed) not in options.splits[split]:
        faults["count"].append(f"{options.title} {split} has {len(listed):,} images, there should be {expected}.")
    for pair in listed:
        for half, path in zip(("image", "label"), pair.files, strict=False):
            if not path.is_file():
                faults[f"no {half}"].append(f"{path}: this {half} is missing; put it back or download again.")


def _check_pairs(
    name: str,
    whole: list[Pair],
    options: DatasetOptions,
    table: ClassTable,
    faults: Faults,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    """Read every pair; returns which train ids occur anywhere, bool (num_classes,)."""
    read_label = label_reader(name)
    present = np.zeros(table.num_classes, bool)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda pair: _check_pair(pair, options, table, read_label), whole)
        for done, result in enumerate(results, start=1):
            for kind, sentence in result.faults:
                faults[kind].append(sentence)
            if result.present is not None:
                present |= result.present
            if progress is not None:
                progress(done, len(whole))
    return present


def _check_pair(
    pair: Pair, options: DatasetOptions, table: ClassTable, read_label: Callable[[Path], np.ndarray]
) -> _Checked:
    found: list[tuple[str, str]] = []
    image = label = present = None
    try:
        image = read_image(pair.image)
    except BrokenFile as error:
        found.append(("broken image", f"{pair.image} {error.reason}; download it again."))
    try:
        label = None if pair.label is None else read_label(pair.label)
    except BrokenFile as error:
        found.append(("broken label", f"{pair.label} {error.reason}; download it again."))
    if image is not None and label is not None and image.shape[:2] != label.shape:
        found.append(("sizes", f"{pair.label} is {_by(label)} but its image {_by(image)}; they must be equal."))
    elif image is not None and options.native_size not in (None, image.shape[:2]):
        height, width = options.native_size or (0, 0)
        found.append(("size", f"{pair.image} is {_by(image)}; this copy of {options.title} has {height}x{width}."))
    if label is not None:
        try:
            present = np.bincount(table.to_train_ids(label).ravel(), minlength=256)[: table.num_classes] > 0
        except ValueError as error:
            allowed = _spans([value for value, _ in table.values])
            found.append(("values", f"{pair.label} has label values {error}; allowed are {allowed}."))
    return _Checked(tuple(found), present)


def _summary(splits: dict[str, list[Pair]], options: DatasetOptions, table: ClassTable) -> tuple[str, ...]:
    counts = ", ".join(f"{len(listed):,} {split}" for split, listed in splits.items())
    ignored = [value for value, train_id in table.values if train_id == IGNORE]
    values = f"labels {_spans([value for value, _ in table.values])}"
    size = " of {}x{}".format(*options.native_size) if options.native_size else ""
    return (
        f"{counts} pairs{size}, every file can be read",
        f"{values}, all {table.num_classes} classes occur" + (f", {_spans(ignored)} ignored" if ignored else ""),
    )


def _shorten(faults: Faults) -> list[str]:
    lines: list[str] = []
    for kind, sentences in faults.items():
        lines += sentences[:_LINES_A_KIND]
        if len(sentences) > _LINES_A_KIND:
            lines.append(f"... and {len(sentences) - _LINES_A_KIND:,} more of this kind ({kind}).")
    return lines


def _state(name: str, folder: Path, whole: list[Pair], options: DatasetOptions) -> str:
    """Digest of names, sizes and times of all files, of the expectations and of the set of checks."""
    files = []
    for pair in whole:
        for path in pair.files:
            status = path.stat()
            files.append([path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns])
    table = [list(pair) for pair in class_table(options.table).values]
    return digest([_CHECKS, name, options.model_dump(mode="json"), table, files], length=64)


def _recall(stamp: Path, state: str) -> tuple[str, ...] | None:
    try:
        data = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tuple(data["lines"]) if isinstance(data, dict) and data.get("state") == state else None


def _remember(stamp: Path, state: str, lines: tuple[str, ...]) -> None:
    """Write the stamp; a cache that cannot be written only means that the next run reads everything again."""
    with contextlib.suppress(RunFault, OSError):
        atomic.write_json(stamp, {"state": state, "lines": lines})


def _content_sha256(splits: dict[str, list[Pair]]) -> str:
    """SHA-256 of a ``sha256sum`` listing of ``./split/{images,labels}/NAME``, sorted bytewise by path."""
    named = {}
    for split, listed in splits.items():
        for pair in listed:
            named[f"./{split}/images/{pair.image.name}"] = pair.image
            if pair.label is not None:
                named[f"./{split}/labels/{pair.label.name}"] = pair.label
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        sums = pool.map(lambda path: hashlib.sha256(path.read_bytes()).hexdigest(), named.values())
        of_name = dict(zip(named, sums, strict=True))
    listing = "".join(f"{of_name[key]}  {key}\n" for key in sorted(of_name, key=os.fsencode))
    return hashlib.sha256(listing.encode()).hexdigest()


def _spans(values: list[int]) -> str:
    """``[0, 1, 2, 255]`` -> ``0..2, 255``."""
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in spans)


def _by(array: np.ndarray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"
