"""Splits that a plan's trainings will decode once and keep, and whether there is room for them."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segbench.core.errors import MissingFault
from segbench.data.handle import find_dataset
from segbench.data.open import list_splits
from segbench.data.prepared import cache
from segbench.data.prepared.cache import Split
from segbench.data.prepared.space import Room, room

from .folders import Folders
from .plan import Plan


@dataclass(frozen=True)
class Preparation:
    """One split that is not prepared yet.

    Attributes:
        split: the split.
        room: bytes that it needs, and those that are left by the splits before it.
    """

    split: Split
    room: Room

    def __str__(self) -> str:
        how = f" at {self.split.spec.scale:g} of its size" if self.split.spec.scale != 1 else ""
        if not self.room.suffices:
            return f"{self.split.title}{how} is decoded whenever it is used; there is no room ({self.room})"
        place = cache.prepared_root(self.split.spec.name)
        needed, free = (f"{count / 1e9:.1f} GB" for count in self.room)
        return f"{self.split.title}{how} is decoded once, {needed} in {place} ({free} free)"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "dataset": self.split.spec.name,
            "split": self.split.split,
            "scale": self.split.spec.scale,
            "bytes": self.room.needed,
            "fits": self.room.suffices,
        }


def preparations(plan: Plan, folders: Folders) -> list[Preparation]:
    """Return every split that the plan's trainings read from files and that is not prepared, once, in order."""
    found: dict[Path, Preparation] = {}
    taken = 0
    for training, _ in plan.trainings().values():
        for data in [stream.data for stage in training.stages for stream in stage.streams.values()]:
            splits: list[Split] = []
            if data.source == "folder":
                with contextlib.suppress(MissingFault):  # the plan says what is missing
                    splits = list_splits(find_dataset(data.name, folders.data), data)
            for split in splits:
                if split.place in found or cache.find(split)[0] is not None:
                    continue
                needed, free = room(split)
                found[split.place] = Preparation(split, Room(needed, free - taken))
                taken += needed if found[split.place].room.suffices else 0
    return list(found.values())
