"""Presence of a data set's files, without opening an image. Free of torch."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import InvalidFault, MissingFault

from .facts import require_split
from .handle import DatasetHandle
from .reader import Pair

NO_READER = "no reader yet"


@dataclass(frozen=True)
class SplitPresence:
    """Files of one split that are there and that are missing.

    Attributes:
        split: name.
        accepted: accepted numbers of images, the official one first.
        pairs: pairs that should be there by folder or list.
        absent: files of those pairs that are missing.
        found: number of pairs of which every file is there.
        optional: True if the data set is complete without the split.
        secret: True if its labels are not public, so that images are all there is to it.
        fault: reason why nothing can be listed, e.g. a missing list file.
    """

    split: str
    accepted: tuple[int, ...]
    pairs: tuple[Pair, ...]
    absent: tuple[Path, ...]
    found: int
    optional: bool
    secret: bool
    fault: MissingFault | InvalidFault | None = None

    @property
    def ready(self) -> bool:
        return self.found in self.accepted and self.found == len(self.pairs)

    @property
    def status(self) -> str:
        """``ready``, ``missing``, ``n of m``, or ``n instead of m`` if there are too many."""
        if self.ready:
            return "ready"
        word = "instead of" if len(self.pairs) > self.accepted[0] else "of"
        return f"{self.found:,} {word} {self.accepted[0]:,}" if self.found else "missing"


@dataclass(frozen=True)
class Presence:
    """Files of some splits that are there and that are missing.

    Attributes:
        status: ``ready``, ``missing``, ``incomplete: n of m`` (complete pairs, of those expected) or ``no reader yet``.
            Optional splits count only where they were asked for. Ready means that all files are there; whether they
            can be read is for ``segbench data verify`` to say.
        splits: every split asked for, in order.
    """

    status: str
    splits: tuple[SplitPresence, ...]


def presence(dataset: DatasetHandle, splits: Sequence[str] | None = None) -> Presence:
    """List the files of a data set; every folder is listed once, no file is opened but lists.

    Args:
        dataset: which one, and where.
        splits: the splits that are needed; None for all.

    Raises:
        UsageFault: no such split.
    """
    options = dataset.options
    wanted = options.splits if splits is None else splits
    if not dataset.readable:
        return Presence(NO_READER, tuple(_absent(dataset, split) for split in wanted))
    for split in wanted:
        require_split(options, split)
    listed = _Listed()
    states = tuple(_split(dataset, split, listed) for split in wanted)
    return Presence(_status([state for state in states if splits is not None or not state.optional]), states)


class _Listed(dict[Path, frozenset[str]]):
    """Names of the files in a folder, which is listed when first asked for."""

    def __missing__(self, folder: Path) -> frozenset[str]:
        try:
            with os.scandir(folder) as items:
                names = frozenset(item.name for item in items if item.is_file())
        except OSError:
            names = frozenset()
        self[folder] = names
        return names


def _split(dataset: DatasetHandle, split: str, listed: _Listed) -> SplitPresence:
    if dataset.folder is None:
        return _absent(dataset, split)
    try:
        pairs = dataset.pairs(split)
    except (MissingFault, InvalidFault) as fault:
        return _absent(dataset, split, fault)
    absent: list[Path] = []
    found = 0
    for pair in pairs:
        lacking = [path for path in pair.files if path.name not in listed[path.parent]]
        absent += lacking
        found += not lacking
    options = dataset.options
    flags = split in options.optional, split in options.secret
    return SplitPresence(split, options.splits[split], tuple(pairs), tuple(absent), found, *flags)


def _absent(dataset: DatasetHandle, split: str, fault: MissingFault | InvalidFault | None = None) -> SplitPresence:
    options = dataset.options
    flags = split in options.optional, split in options.secret
    return SplitPresence(split, options.splits[split], (), (), 0, *flags, fault)


def _status(states: Sequence[SplitPresence]) -> str:
    if all(state.ready for state in states):
        return "ready"
    found = sum(state.found for state in states)
    expected = sum(state.accepted[0] for state in states)
    return f"incomplete: {found:,} of {expected:,}" if found else "missing"
