"""Overview of a data set for lists and plans: presence, folder, layout, prepared bytes. Free of torch."""

from dataclasses import dataclass
from pathlib import Path

from .facts import DatasetOptions
from .handle import find_dataset
from .places import cache_root
from .presence import NO_READER, SplitPresence, presence


@dataclass(frozen=True)
class State:
    """Overview of one data set.

    Attributes:
        status: see ``presence.Presence``.
        folder: where it lies; None if it is not there.
        layout: layout of that folder; empty if there is only one.
        splits: every split.
        prepared_bytes: size of what ``segbench data prepare`` keeps of it in the cache folder.
    """

    status: str
    folder: Path | None
    layout: str
    splits: tuple[SplitPresence, ...]
    prepared_bytes: int


def describe(name: str, root: Path, *, options: DatasetOptions | None = None) -> State:
    """Return the overview of a data set.

    Raises:
        UsageFault: the data set is not registered.
    """
    dataset = find_dataset(name, root, options=options)
    found = presence(dataset)
    folder = None if found.status == NO_READER else dataset.folder
    layout = dataset.layout if any(state.found for state in found.splits) else ""
    return State(found.status, folder, layout, found.splits, folder_bytes(cache_root() / "prepared" / name))


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below a folder, 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
