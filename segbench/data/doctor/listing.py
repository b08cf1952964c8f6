"""Listings of splits: expected files, missing files, and files that two splits share. No file is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segbench.core.errors import InvalidFault, MissingFault
from segbench.data.facts import DatasetOptions
from segbench.data.places import HIDDEN
from segbench.data.reader import Finding, Pair, pairs

from .case import Case

_STRAY = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})  # left by other systems, like names with a dot


@dataclass(frozen=True)
class Listing:
    """The files of a split according to its folder or list.

    Attributes:
        split: its name.
        pairs: all of them in their order; without labels where those are secret.
        stats: size in bytes and modification time in nanoseconds of every file that is there.
        findings: faults of the listing itself.
    """

    split: str
    pairs: tuple[Pair, ...]
    stats: dict[Path, tuple[int, int]]
    findings: tuple[Finding, ...] = ()

    @property
    def complete_pairs(self) -> tuple[Pair, ...]:
        """Pairs of which every file is there."""
        return tuple(pair for pair in self.pairs if all(path in self.stats for path in pair.files))


def list_split(name: str, folder: Path, split: str, options: DatasetOptions, *, look: bool = True) -> Listing:
    """Return the listing of a split.

    A list file that cannot be read is a finding, and the listing is empty then.

    Args:
        name: of the data set.
        folder: of its files.
        split: the split.
        options: facts of the data set.
        look: stat the files; without that none of them counts as there.
    """
    try:
        found = pairs(name, folder, split)
    except (MissingFault, InvalidFault) as error:
        level: Literal["note", "fault"] = "note" if split in options.optional else "fault"
        return Listing(split, (), {}, tuple(Finding(level, text, error.next, "no list") for text in error.faults))
    if split in options.secret:
        found = [pair._replace(label=None, instances=None) for pair in found]
    stats: dict[Path, tuple[int, int]] = {}
    for pair in found if look else ():
        for path in (*pair.files, *([pair.instances] if pair.instances else [])):
            if path.is_file():
                status = path.stat()
                stats[path] = status.st_size, status.st_mtime_ns
    return Listing(split, tuple(found), stats)


def check(listing: Listing, case: Case, *, asked: bool) -> Iterator[Finding]:
    """Yield findings on the number of images and on missing files.

    Args:
        listing: the split.
        case: the data set.
        asked: True if the split was asked for by name, so that it must be there even if it is optional.
    """
    yield from listing.findings
    split, options = listing.split, case.options
    accepted, count = options.splits[split], len(listing.pairs)
    expected = " or ".join(f"{number:,}" for number in accepted)
    if not listing.complete_pairs and split in options.optional and not asked:
        text = f"{split} is not here ({accepted[0]:,} images); {options.title} is complete without it."
        yield Finding("note", text, case.download_command(split), "optional split")
        return
    if listing.findings:
        return
    if count not in accepted:
        text = f"{options.title} {split} has {count:,} images, there should be {expected}."
        fix = case.replace_command if listing.complete_pairs else case.download_command(split)
        yield Finding("fault", text, fix, "count")
    elif count != accepted[0]:
        text = f"{split} has {count:,} images, a number that is also in use; officially there are {accepted[0]:,}."
        yield Finding("note", text, kind="other count")
    for pair in listing.pairs:
        for half, path in zip(("image", "label"), pair.files, strict=False):
            if path not in listing.stats:
                text = f"{path}: this {half} is missing; put it back or download again."
                yield Finding("fault", text, case.replace_command, f"no {half}")
    yield from _instances(listing, case)


def _instances(listing: Listing, case: Case) -> Iterator[Finding]:
    """Yield findings on missing instance files: having none of them is a choice, having some a fault."""
    wanted = [pair.instances for pair in listing.pairs if pair.instances is not None]
    absent = [path for path in wanted if path not in listing.stats]
    if absent and len(absent) == len(wanted):
        text = f"{listing.split} has no instance files (e.g. {absent[0]}): only metrics of instances need them."
        yield Finding("note", text, case.replace_command, "no instances")
        return
    for path in absent:
        text = f"{path}: this instance file is missing, others are here."
        yield Finding("fault", text, case.replace_command, "no instances")


def summary(listings: Sequence[Listing], case: Case) -> Iterator[Finding]:
    """Yield one finding on the splits of which everything is there."""
    accepted = case.options.splits
    complete = [item for item in listings if item.pairs and len(item.complete_pairs) == len(item.pairs)]
    correct = [item for item in complete if len(item.pairs) in accepted[item.split]]
    if not correct:
        return
    counts = [f"{len(item.pairs):,} {item.split}" for item in correct]
    text = f"{', '.join(counts[:-1])} and {counts[-1]}" if len(counts) > 1 else counts[0]
    secret = [item.split for item in correct if item.split in case.options.secret]
    labels = f"every label is there but those of {' and '.join(secret)}, which are secret"
    yield Finding("ok", f"{text} images, {labels if secret else 'every label is there'}")


def shared_files(listings: Sequence[Listing], case: Case) -> Iterator[Finding]:
    """Yield a fault for every image that two splits list though they should share none: a leak."""
    for first, second in split_pairs(listings):
        own = {pair.image for pair in first.pairs}
        for pair in second.pairs:
            if pair.image in own:
                text = f"{pair.image} belongs to {first.split} and to {second.split}: scores on either are meaningless."
                yield Finding("fault", text, case.replace_command, "leak")


def split_pairs(listings: Sequence[Listing]) -> Iterator[tuple[Listing, Listing]]:
    """Yield the pairs of splits that may share nothing; ``trainval`` contains ``val``, and train splits may overlap."""
    for place, first in enumerate(listings):
        for second in listings[place + 1 :]:
            training = first.split.startswith("train") and second.split.startswith("train")
            if not (training or first.split in second.split or second.split in first.split):
                yield first, second


def stray_files(listings: Sequence[Listing], case: Case) -> Iterator[Finding]:
    """Yield notes on hidden files among the data, and on empty ones that no split lists: they are not read."""
    listed = {path for item in listings for path in item.stats}
    folders = {case.folder, *(path.parent for path in listed)}
    hidden: list[Path] = []
    empty: list[Path] = []
    for folder in sorted(folders):
        for item in sorted(folder.iterdir()):
            if item.name == HIDDEN:
                continue
            if item.name[0] == "." or item.name in _STRAY:
                hidden.append(item)
            elif item not in listed and item.is_file() and item.stat().st_size == 0:
                empty.append(item)
    for found, word in ((hidden, "hidden"), (empty, "empty")):
        if found:
            text = f"{len(found):,} {word} file{'s' * (len(found) > 1)} among the data (e.g. {found[0]}): not read."
            yield Finding("note", text, kind=f"{word} files")
