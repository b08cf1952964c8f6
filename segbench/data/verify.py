"""Verification of a data set: the doctor's findings, raised as an error if one of them is a fault.

Nothing is ever written to the data folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import MissingFault
from segbench.core.progress import Count, ignore

from .doctor.diagnose import diagnose
from .doctor.report import Report, shorten
from .facts import DatasetOptions


@dataclass(frozen=True)
class Verified:
    """A data set that passed.

    Attributes:
        folder: of its files.
        lines: findings, one sentence each.
        remembered: True if the result is that of an earlier verification of these very files.
        notes: remarks for the user, one sentence each.
    """

    folder: Path
    lines: tuple[str, ...]
    remembered: bool
    notes: tuple[str, ...] = ()


def verify(
    name: str,
    root: Path,
    *,
    splits: Sequence[str] | None = None,
    options: DatasetOptions | None = None,
    redo: bool = False,
    progress: Count = ignore,
) -> Verified:
    """Return the findings on a data set without faults.

    Args:
        name: of the data set.
        root: the data root.
        splits: only these, all of which must be there; None for all, of which optional ones may be absent.
        options: its facts; None for the registered ones.
        redo: read every file again even if nothing changed since the last verification.
        progress: called with (pairs read, pairs in all).

    Raises:
        UsageFault: unknown data set or split.
        MissingFault: the data set is missing or faulty; one line a fault, all of them at once
            (of each kind at most five, then their number).
    """
    report = diagnose(name, root, splits=splits, options=options, redo=redo, progress=progress)
    if report.faults:
        raise MissingFault(*(finding.text for finding in shorten(report.faults)), next=next_command(report))
    lines, notes = (tuple(finding.text for finding in report.of_level(level)) for level in ("ok", "note"))
    return Verified(report.folder, lines, report.remembered, notes)


def next_command(report: Report) -> str:
    """Return the command that fixes the first fault, or that verifies again after a fix by hand."""
    fixes = [finding.fix for finding in report.faults if finding.fix]
    return fixes[0] if fixes else f"segbench data verify {report.name}"
