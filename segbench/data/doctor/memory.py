"""What was found whole, remembered in the cache folder: nothing is decoded twice, nothing is written to the data.

A split is remembered by names, sizes and times of all its files, by what was expected of it and by the number of
this set of checks; whatever changes of these, it is read again.
"""

import contextlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segbench.core import atomic
from segbench.core.errors import RunFault
from segbench.core.spec import digest
from segbench.data.places import cache_root
from segbench.data.reader import Finding

from .case import Case
from .listing import Listing
from .report import Tally

_CHECKS = 2  # raise when a check is added, so that what was remembered before counts no more


@dataclass
class Memory:
    """What an earlier examination of a folder left.

    Attributes:
        path: of the file.
        splits: name of a split to its state and counts.
        across: names of splits, joined by blanks, to their joint state and what was found between them.
    """

    path: Path
    splits: dict[str, tuple[str, Tally]] = field(default_factory=dict)
    across: dict[str, tuple[str, list[Finding]]] = field(default_factory=dict)

    def known(self, states: dict[str, str]) -> dict[str, Tally]:
        """Counts of the splits whose state is the one that is remembered."""
        return {split: self.splits[split][1] for split in states if self._knows(split, states)}

    def between(self, states: dict[str, str]) -> list[Finding] | None:
        """What was found between these splits in this state; None if that is not known."""
        state, findings = self.across.get(" ".join(states), ("", []))
        return findings if state == _joint(states) else None

    def update(self, states: dict[str, str], tallies: dict[str, Tally], between: list[Finding]) -> None:
        """Keep counts of splits without a fault in a file, and what lies between them if that is none; then save."""
        news = {split: (states[split], tally) for split, tally in tallies.items() if not self._knows(split, states)}
        self.splits |= news
        whole = all(finding.level != "fault" for finding in between)
        if whole and self.between(states) is None:
            self.across[" ".join(states)] = _joint(states), between
        elif not news:
            return
        self._save()

    def _knows(self, split: str, states: dict[str, str]) -> bool:
        return split in self.splits and self.splits[split][0] == states[split]

    def _save(self) -> None:
        """Write it; a cache that cannot be written only means that the next run reads everything again."""
        splits = {split: {"state": state, "tally": tally.as_json()} for split, (state, tally) in self.splits.items()}
        across = {
            names: {"state": state, "findings": [asdict(finding) for finding in findings]}
            for names, (state, findings) in self.across.items()
        }
        with contextlib.suppress(RunFault, OSError):
            atomic.write_json(self.path, {"splits": splits, "across": across})


def recall(case: Case) -> Memory:
    """What is remembered of a folder; empty if there is nothing, or nothing that reads."""
    path = cache_root() / "verified" / f"{case.name}-{digest(str(case.folder.resolve()))}.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        splits = {split: (kept["state"], Tally.from_json(kept["tally"])) for split, kept in data["splits"].items()}
        across = {
            names: (kept["state"], [Finding(**finding) for finding in kept["findings"]])
            for names, kept in data["across"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Memory(path)
    return Memory(path, splits, across)


def state_of(listing: Listing, case: Case) -> str:
    """Digest of a split's files, of what is expected of them and of the set of checks."""
    folder, table = case.folder, case.table
    files = [[_relative(path, folder), *status] for path, status in listing.stats.items()]
    keys = [[pair.key, *(_relative(path, folder) for path in pair.files)] for pair in listing.pairs]
    facts = case.options.model_dump(mode="json")
    values = [list(pair) for pair in table.values]
    expected = [case.name, listing.split, facts, table.name, table.num_classes, values]
    return digest([_CHECKS, expected, keys, files], length=64)


def _joint(states: dict[str, str]) -> str:
    return digest(list(states.values()), length=64)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
