"""One examination, from the first folder to the last class."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from segbench.core.errors import MissingFault
from segbench.data.classes import class_table
from segbench.data.facts import DatasetOptions, facts, require_split
from segbench.data.reader import Finding, Pair, examine, layout, require_folder

from . import duplicates, listing, pixels, summary
from .case import Case
from .listing import Listing, list_split
from .memory import recall, state_of
from .report import Report, SplitReport, Tally

Progress = Callable[[int, int], None]
_LEVELS = ("ok", "note", "fault")


def diagnose(
    name: str,
    root: Path,
    *,
    splits: Sequence[str] | None = None,
    options: DatasetOptions | None = None,
    redo: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Examine a data set completely.

    Args:
        name: of the data set.
        root: the data root.
        splits: only these, which must be there then; None for all, where optional ones may be absent.
        options: its facts; None for the registered ones.
        redo: read every file again even if nothing changed.
        progress: called with (pairs read, pairs to read).

    Raises:
        UsageFault: unknown data set or split.
        MissingFault: the data set is not there at all.
    """
    options = options or facts(name)
    for split in splits or ():
        require_split(options, split)
    wanted = set(options.splits if splits is None else splits)
    case = Case(name, require_folder(name, root, options), options, class_table(options.table))
    listings = [list_split(name, case.folder, split, options, look=split in wanted) for split in options.splits]
    chosen = [item for item in listings if item.split in wanted]
    states = {item.split: state_of(item, case) for item in chosen}
    kept = recall(case)
    known = {} if redo else kept.known(states)
    read = _read([item for item in chosen if item.split not in known], case, progress)
    tallies = known | {split: tally for split, (tally, _) in read.items()}
    in_files = {split: findings for split, (_, findings) in read.items()}
    between = None if redo else kept.between(states)
    if between is None:
        between = _between(chosen, case)
    kept.update(states, {split: tallies[split] for split in states if not in_files.get(split)}, between)

    parts = [_part(item, case, tallies[item.split]) for item in chosen]
    listed = [found for item in chosen for found in listing.check(item, case, asked=splits is not None)]
    listed += listing.shared_files(listings, case)
    found = [*listing.summary(chosen, case), *summary.sizes(parts), *listed]
    found += _labels(parts, in_files, case, complete=splits is None and not _faulty(listed))
    found += [*between, *(Finding("note", note) for note in options.notes)]
    once: dict[str, Finding] = {}
    for finding in found:  # splits that share files share what is said of them
        once.setdefault(finding.text, finding)
    ordered = tuple(finding for level in _LEVELS for finding in once.values() if finding.level == level)
    where = layout(name, case.folder)
    return Report(name, options.title, case.folder, where, case.table, tuple(parts), ordered, remembered=not read)


def _read(chosen: Sequence[Listing], case: Case, progress: Progress | None) -> dict[str, tuple[Tally, list[Finding]]]:
    """Counts and faults of splits; a pair that is in several of them is read once."""
    results: dict[str, tuple[Tally, list[Finding]]] = {}
    work: dict[tuple[Path, Path | None], Pair] = {}
    owners: dict[tuple[Path, Path | None], list[str]] = {}
    for item in chosen:
        results[item.split] = Tally.empty(case.table.num_classes), []
        for pair in item.whole:
            work.setdefault((pair.image, pair.label), pair)
            owners.setdefault((pair.image, pair.label), []).append(item.split)
    with closing(pixels.look_at_all(list(work.values()), case)) as looked_at:
        for done, seen in enumerate(looked_at, start=1):
            for split in owners[seen.pair.image, seen.pair.label]:
                tally, findings = results[split]
                pixels.count(seen, tally, case)
                findings += seen.findings
            if progress is not None:
                progress(done, len(work))
    return results


def _between(chosen: Sequence[Listing], case: Case) -> list[Finding]:
    """What no file tells alone: what its reader asks, the same picture twice, strangers, the reference copy."""
    found = [*_own(case), *duplicates.twins(chosen, case), *listing.litter(chosen, case)]
    whole = all(len(item.whole) == len(item.pairs) for item in chosen)
    if case.options.content_sha256 is not None and whole and len(chosen) == len(case.options.splits):
        same = duplicates.content_sha256(chosen) == case.options.content_sha256
        text = "every byte equals the reference copy" if same else "not byte for byte the reference copy"
        found.append(Finding("ok" if same else "note", text, kind="reference copy"))
    return found


def _labels(
    parts: Sequence[SplitReport], in_files: dict[str, list[Finding]], case: Case, *, complete: bool
) -> list[Finding]:
    """Faults of files, and what their label values say together.

    A numbering that explains foreign values takes the place of a fault for every file that has them.
    """
    guesses = summary.guesses(parts, case)
    found = [
        finding
        for split, findings in in_files.items()
        for finding in findings
        if not (split in guesses and finding.kind == pixels.VALUES)
    ]
    found += summary.numbering(guesses, parts, case)
    if guesses or any(finding.kind == pixels.VALUES for finding in found):
        return found
    return found + list(summary.classes(parts, case, complete=complete and not _faulty(found)))


def _own(case: Case) -> list[Finding]:
    """What only this data set is asked; a file that its reader cannot read is a fault of the data."""
    try:
        found = examine(case.name, case.folder)
    except MissingFault as error:
        return [Finding("fault", text, error.next, "own checks") for text in error.faults]
    return [replace(item, fix=case.again) if item.level == "fault" and not item.fix else item for item in found]


def _part(item: Listing, case: Case, tally: Tally) -> SplitReport:
    split, options = item.split, case.options
    return SplitReport(
        split, options.splits[split], len(item.pairs), len(item.whole),
        split in options.optional, split in options.secret, tally,
    )  # fmt: skip


def _faulty(findings: Sequence[Finding]) -> bool:
    return any(finding.level == "fault" for finding in findings)
