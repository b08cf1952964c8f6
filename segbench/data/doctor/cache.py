"""Verification cache: the counts of splits without a fault, kept in the cache folder so that none is decoded twice.

A split's fingerprint covers names, sizes and modification times of its files, the facts of its data set and the number
of this set of checks; if one of these changes, the split is read again. Nothing is written to the data's own folder.
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

_CHECKS = 2  # raise when a check is added, so that earlier entries are ignored


@dataclass
class VerificationCache:
    """Results of earlier examinations of a folder.

    Attributes:
        path: of the file.
        splits: name of a split to its fingerprint and counts.
        across: names of splits, joined by blanks, to their joint fingerprint and the findings across them.
    """

    path: Path
    splits: dict[str, tuple[str, Tally]] = field(default_factory=dict)
    across: dict[str, tuple[str, list[Finding]]] = field(default_factory=dict)

    def tallies_of(self, fingerprints: dict[str, str]) -> dict[str, Tally]:
        """Return the counts of the splits whose fingerprint has not changed."""
        return {split: self.splits[split][1] for split in fingerprints if self._holds(split, fingerprints)}

    def findings_across(self, fingerprints: dict[str, str]) -> list[Finding] | None:
        """Return the findings across these splits; None if they are not known or a fingerprint has changed."""
        joint, findings = self.across.get(" ".join(fingerprints), ("", []))
        return findings if joint == _joint(fingerprints) else None

    def update(self, fingerprints: dict[str, str], tallies: dict[str, Tally], across: list[Finding]) -> None:
        """Add counts of splits without faults, and findings across all splits unless one is a fault; then save."""
        new = {
            split: (fingerprints[split], tally)
            for split, tally in tallies.items()
            if not self._holds(split, fingerprints)
        }
        self.splits |= new
        sound = all(finding.level != "fault" for finding in across)
        if sound and self.findings_across(fingerprints) is None:
            self.across[" ".join(fingerprints)] = _joint(fingerprints), across
        elif not new:
            return
        self._save()

    def _holds(self, split: str, fingerprints: dict[str, str]) -> bool:
        return split in self.splits and self.splits[split][0] == fingerprints[split]

    def _save(self) -> None:
        """Write the file; if that fails, the next run merely reads everything again."""
        splits = {split: {"state": state, "tally": tally.as_json()} for split, (state, tally) in self.splits.items()}
        across = {
            names: {"state": state, "findings": [asdict(finding) for finding in findings]}
            for names, (state, findings) in self.across.items()
        }
        with contextlib.suppress(RunFault, OSError):
            atomic.write_json(self.path, {"splits": splits, "across": across})


def load_cache(case: Case) -> VerificationCache:
    """Return the cache of a folder; empty if there is none, or if it cannot be read."""
    path = cache_root() / "verified" / f"{case.name}-{digest(str(case.folder.resolve()))}.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        splits = {split: (kept["state"], Tally.from_json(kept["tally"])) for split, kept in data["splits"].items()}
        across = {
            names: (kept["state"], [Finding(**finding) for finding in kept["findings"]])
            for names, kept in data["across"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return VerificationCache(path)
    return VerificationCache(path, splits, across)


def fingerprint(listing: Listing, case: Case) -> str:
    """Return a digest of a split's files, of the facts of its data set and of the set of checks."""
    folder, table = case.folder, case.table
    files = [[_relative(path, folder), *status] for path, status in listing.stats.items()]
    keys = [[pair.key, *(_relative(path, folder) for path in pair.files)] for pair in listing.pairs]
    facts = case.options.model_dump(mode="json")
    values = [list(pair) for pair in table.values]
    expected = [case.name, listing.split, facts, table.name, table.num_classes, values]
    return digest([_CHECKS, expected, keys, files], length=64)


def _joint(fingerprints: dict[str, str]) -> str:
    return digest(list(fingerprints.values()), length=64)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
