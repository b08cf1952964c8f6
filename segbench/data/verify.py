"""Is the data what it claims to be? The doctor's findings as a yes, or as an error that says what is wrong.

Nothing is ever written to the data folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import MissingFault

from .doctor.diagnose import diagnose
from .doctor.report import Report, shorten
from .facts import DatasetOptions


@dataclass(frozen=True)
class Verified:
    """A data set that passed.

    Attributes:
        folder: where it lies.
        lines: what was found, one sentence each.
        remembered: whether an earlier verification of these very files was taken.
        notes: what a user should know of it all the same.
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
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check a data set completely.

    Args:
        name: of the data set.
        root: the data root.
        splits: only these, which must be there then; None for all, where optional ones may be absent.
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
        raise MissingFault(*(line.text for line in shorten(report.faults)), next=next_command(report))
    lines, notes = (tuple(finding.text for finding in report.of_level(level)) for level in ("ok", "note"))
    return Verified(report.folder, lines, report.remembered, notes)


def next_command(report: Report) -> str:
    """The command that mends the first fault, or that looks again after a repair by hand."""
    fixes = [finding.fix for finding in report.faults if finding.fix]
    return fixes[0] if fixes else f"segbench data verify {report.name}"
