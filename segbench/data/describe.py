"""The state of a data set, without opening an image. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import InvalidFault, MissingFault

from .facts import DatasetOptions, facts, require_split
from .places import cache_root
from .reader import is_readable, layout, locate, pairs

NO_READER = "no reader yet"


@dataclass(frozen=True)
class SplitState:
    """What is there of a split.

    Attributes:
        split: its name.
        accepted: accepted numbers of images, the official one first.
        listed: pairs that should be there by folder or list.
        found: pairs of which every file is there.
        optional: whether the data set is whole without it.
        secret: whether its labels are not public, so that images are all there is to it.
    """

    split: str
    accepted: tuple[int, ...]
    listed: int
    found: int
    optional: bool
    secret: bool

    @property
    def ready(self) -> bool:
        return self.found in self.accepted and self.found == self.listed

    @property
    def status(self) -> str:
        """``ready``, ``missing``, ``n of m``, or ``n instead of m`` where there are too many."""
        if self.ready:
            return "ready"
        word = "instead of" if self.listed > self.accepted[0] else "of"
        return f"{self.found:,} {word} {self.accepted[0]:,}" if self.found else "missing"


@dataclass(frozen=True)
class State:
    """What is there of a data set.

    Attributes:
        status: as ``data_status``.
        folder: where it lies, None if it does not.
        layout: which of its layouts lies there; empty where there is but one.
        splits: every split.
        prepared_bytes: what ``segbench data prepare`` keeps of it in the cache folder.
    """

    status: str
    folder: Path | None
    layout: str
    splits: tuple[SplitState, ...]
    prepared_bytes: int


def data_status(
    name: str, root: Path, *, splits: Sequence[str] | None = None, options: DatasetOptions | None = None
) -> str:
    """``ready``, ``missing``, ``incomplete: n of m`` (whole pairs, of those there should be) or ``no reader yet``.

    Ready means that all files are there; whether they can be read is what ``segbench data verify`` finds out.

    Args:
        name: of the data set.
        root: the data root.
        splits: what is needed of it; None for every split that is not optional.
        options: its facts; None for the registered ones.

    Raises:
        UsageFault: the data set is not registered, or has no such split.
    """
    options = options or facts(name)
    if not is_readable(name):
        return NO_READER
    for split in splits or ():
        require_split(options, split)
    needed = splits or [split for split in options.splits if split not in options.optional]
    return _status(split_states(name, locate(name, root), options, needed))


def describe(name: str, root: Path, *, options: DatasetOptions | None = None) -> State:
    """The whole state of a data set.

    Raises:
        UsageFault: the data set is not registered.
    """
    options = options or facts(name)
    prepared = folder_bytes(cache_root() / "prepared" / name)
    if not is_readable(name):
        return State(NO_READER, None, "", _absent(options, tuple(options.splits)), prepared)
    folder = locate(name, root)
    states = split_states(name, folder, options, tuple(options.splits))
    there = folder is not None and any(state.found for state in states)
    found = layout(name, folder) if there and folder is not None else ""
    return State(_status([state for state in states if not state.optional]), folder, found, states, prepared)


def split_states(
    name: str, folder: Path | None, options: DatasetOptions, splits: Sequence[str]
) -> tuple[SplitState, ...]:
    """What is there of some splits; every folder is listed once, no file is opened but lists."""
    if folder is None:
        return _absent(options, splits)
    present = _Present()
    return tuple(_state(name, folder, options, split, present) for split in splits)


def folder_bytes(folder: Path) -> int:
    """Size of everything below a folder, 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class _Present(dict[Path, frozenset[str]]):
    """Names of the files of a folder, each folder listed when it is first asked for."""

    def __missing__(self, folder: Path) -> frozenset[str]:
        try:
            names = frozenset(item.name for item in folder.iterdir() if item.is_file())
        except OSError:
            names = frozenset()
        self[folder] = names
        return names


def _state(name: str, folder: Path, options: DatasetOptions, split: str, present: _Present) -> SplitState:
    try:
        listed = pairs(name, folder, split)
    except (MissingFault, InvalidFault):  # a list that is not there, or is none
        listed = []
    found = sum(all(path.name in present[path.parent] for path in pair.files) for pair in listed)
    optional, secret = split in options.optional, split in options.secret
    return SplitState(split, options.splits[split], len(listed), found, optional, secret)


def _absent(options: DatasetOptions, splits: Sequence[str]) -> tuple[SplitState, ...]:
    return tuple(
        SplitState(split, options.splits[split], 0, 0, split in options.optional, split in options.secret)
        for split in splits
    )


def _status(states: Sequence[SplitState]) -> str:
    if all(state.ready for state in states):
        return "ready"
    found = sum(state.found for state in states)
    expected = sum(state.accepted[0] for state in states)
    return f"incomplete: {found:,} of {expected:,}" if found else "missing"
