"""The examination of a data set, from its folders to its classes."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from segbench.core.errors import MissingFault
from segbench.core.progress import Count, ignore
from segbench.data.classes import class_table
from segbench.data.facts import DatasetOptions, facts, require_split
from segbench.data.reader import Finding, Pair, examine, layout, require_folder

from . import duplicates, listing, pixels, summary
from .cache import fingerprint, load_cache
from .case import Case
from .listing import Listing, list_split
from .report import Report, SplitReport, Tally

_LEVELS = ("ok", "note", "fault")


def diagnose(
    name: str,
    root: Path,
    *,
    splits: Sequence[str] | None = None,
    options: DatasetOptions | None = None,
    redo: bool = False,
    progress: Count = ignore,
) -> Report:
    """Return the findings on every file of a data set.

    Args:
        name: of the data set.
        root: the data root.
        splits: only these, all of which must be there; None for all, of which optional ones may be absent.
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
    fingerprints = {item.split: fingerprint(item, case) for item in chosen}
    cache = load_cache(case)
    known = {} if redo else cache.tallies_of(fingerprints)
    read = _read([item for item in chosen if item.split not in known], case, progress)
    tallies = known | {split: tally for split, (tally, _) in read.items()}
    in_files = {split: findings for split, (_, findings) in read.items()}
    across = None if redo else cache.findings_across(fingerprints)
    if across is None:
        across = _across(chosen, case)
    sound = {split: tallies[split] for split in fingerprints if not in_files.get(split)}
    cache.update(fingerprints, sound, across)

    reports = [_split_report(item, case, tallies[item.split]) for item in chosen]
    listed = [found for item in chosen for found in listing.check(item, case, asked=splits is not None)]
    listed += listing.shared_files(listings, case)
    found = [*listing.summary(chosen, case), *summary.sizes(reports), *listed]
    found += _labels(reports, in_files, case, complete=splits is None and not _faulty(listed))
    found += [*across, *(Finding("note", note) for note in options.notes)]
    once: dict[str, Finding] = {}
    for finding in found:  # splits that share files share findings on them
        once.setdefault(finding.text, finding)
    ordered = tuple(finding for level in _LEVELS for finding in once.values() if finding.level == level)
    return Report(
        name,
        options.title,
        case.folder,
        layout(name, case.folder),
        case.table,
        tuple(reports),
        ordered,
        remembered=not read,
    )


def _read(chosen: Sequence[Listing], case: Case, progress: Count) -> dict[str, tuple[Tally, list[Finding]]]:
    """Return counts and findings of splits; a pair that is in several of them is read once."""
    results: dict[str, tuple[Tally, list[Finding]]] = {}
    work: dict[tuple[Path, Path | None], Pair] = {}
    owners: dict[tuple[Path, Path | None], list[str]] = {}
    for item in chosen:
        results[item.split] = Tally.empty(case.table.num_classes), []
        for pair in item.complete_pairs:
            work.setdefault((pair.image, pair.label), pair)
            owners.setdefault((pair.image, pair.label), []).append(item.split)
    with closing(pixels.examine_pairs(list(work.values()), case)) as examined:
        for done, each in enumerate(examined, start=1):
            for split in owners[each.pair.image, each.pair.label]:
                tally, findings = results[split]
                pixels.count(each, tally, case)
                findings += each.findings
            progress(done, len(work))
    return results


def _across(chosen: Sequence[Listing], case: Case) -> list[Finding]:
    """Return findings on more than one file: of the reader, duplicates, stray files, the reference copy."""
    found = [*_of_reader(case), *duplicates.duplicate_images(chosen, case), *listing.stray_files(chosen, case)]
    complete = all(len(item.complete_pairs) == len(item.pairs) for item in chosen)
    if case.options.content_sha256 is not None and complete and len(chosen) == len(case.options.splits):
        same = duplicates.content_sha256(chosen) == case.options.content_sha256
        text = "every byte equals the reference copy" if same else "not byte for byte the reference copy"
        found.append(Finding("ok" if same else "note", text, kind="reference copy"))
    return found


def _labels(
    reports: Sequence[SplitReport], in_files: dict[str, list[Finding]], case: Case, *, complete: bool
) -> list[Finding]:
    """Return faults of files, and findings on all of their label values.

    A numbering that explains foreign values replaces the fault of every file that has them.
    """
    guesses = summary.guesses(reports, case)
    found = [
        finding
        for split, findings in in_files.items()
        for finding in findings
        if not (split in guesses and finding.kind == pixels.VALUES)
    ]
    found += summary.numbering(guesses, reports, case)
    if guesses or any(finding.kind == pixels.VALUES for finding in found):
        return found
    return found + list(summary.classes(reports, case, complete=complete and not _faulty(found)))


def _of_reader(case: Case) -> list[Finding]:
    """Return the findings of the data set's own reader; a file that it cannot read is a fault of the data."""
    try:
        found = examine(case.name, case.folder)
    except MissingFault as error:
        return [Finding("fault", text, error.next, "own checks") for text in error.faults]
    fix = case.replace_command
    return [replace(item, fix=fix) if item.level == "fault" and not item.fix else item for item in found]


def _split_report(item: Listing, case: Case, tally: Tally) -> SplitReport:
    split, options = item.split, case.options
    return SplitReport(
        split, options.splits[split], len(item.pairs), len(item.complete_pairs),
        split in options.optional, split in options.secret, tally,
    )  # fmt: skip


def _faulty(findings: Sequence[Finding]) -> bool:
    return any(finding.level == "fault" for finding in findings)
