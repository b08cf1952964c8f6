"""Which files there should be, which there are, and whether a split takes what belongs to another. No file is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segbench.core.errors import InvalidFault, MissingFault
from segbench.data.facts import DatasetOptions
from segbench.data.places import HIDDEN
from segbench.data.reader import Finding, Pair, pairs

from .case import Case

_LITTER = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})  # left by other systems; names with a dot come on top


@dataclass(frozen=True)
class Listing:
    """A split as its folder or list names it.

    Attributes:
        split: its name.
        pairs: all of them in their order; without labels where those are secret.
        stats: size in bytes and time of change in nanoseconds of every file that is there.
        findings: faults of the listing itself.
    """

    split: str
    pairs: tuple[Pair, ...]
    stats: dict[Path, tuple[int, int]]
    findings: tuple[Finding, ...] = ()

    @property
    def whole(self) -> tuple[Pair, ...]:
        """Pairs of which every file is there."""
        return tuple(pair for pair in self.pairs if all(path in self.stats for path in pair.files))


def list_split(name: str, folder: Path, split: str, options: DatasetOptions, *, look: bool = True) -> Listing:
    """List a split, and unless told otherwise look which of its files are there.

    A list file that cannot be read is a finding, and nothing is listed then.
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
    """Counts against the accepted ones, and all parts of every pair.

    Args:
        listing: the split.
        case: the data set.
        asked: whether the split was asked for by name, so that it must be there even if it is optional.
    """
    yield from listing.findings
    split, options = listing.split, case.options
    accepted, count = options.splits[split], len(listing.pairs)
    expected = " or ".join(f"{number:,}" for number in accepted)
    if not listing.whole and split in options.optional and not asked:
        text = f"{split} is not here ({accepted[0]:,} images); {options.title} is whole without it."
        yield Finding("note", text, case.get(split), "optional split")
        return
    if listing.findings:
        return
    if count not in accepted:
        text = f"{options.title} {split} has {count:,} images, there should be {expected}."
        yield Finding("fault", text, case.again if listing.whole else case.get(split), "count")
    elif count != accepted[0]:
        text = f"{split} has {count:,} images, a number that is in use too; officially there are {accepted[0]:,}."
        yield Finding("note", text, kind="other count")
    for pair in listing.pairs:
        for half, path in zip(("image", "label"), pair.files, strict=False):
            if path not in listing.stats:
                text = f"{path}: this {half} is missing; put it back or download again."
                yield Finding("fault", text, case.again, f"no {half}")
    yield from _instances(listing, case)


def _instances(listing: Listing, case: Case) -> Iterator[Finding]:
    """Files that tell instances apart: none of them is a choice, some of them a loss."""
    wanted = [pair.instances for pair in listing.pairs if pair.instances is not None]
    absent = [path for path in wanted if path not in listing.stats]
    if absent and len(absent) == len(wanted):
        text = f"{listing.split} has no instance files (e.g. {absent[0]}): only metrics of instances need them."
        yield Finding("note", text, case.again, "no instances")
        return
    for path in absent:
        yield Finding("fault", f"{path}: this instance file is missing, others are here.", case.again, "no instances")


def summary(listings: Sequence[Listing], case: Case) -> Iterator[Finding]:
    """One line on the splits of which everything is there."""
    accepted = case.options.splits
    whole = [item for item in listings if item.whole and len(item.whole) == len(item.pairs)]
    good = [item for item in whole if len(item.pairs) in accepted[item.split]]
    if not good:
        return
    counts = [f"{len(item.pairs):,} {item.split}" for item in good]
    text = f"{', '.join(counts[:-1])} and {counts[-1]}" if len(counts) > 1 else counts[0]
    secret = [item.split for item in good if item.split in case.options.secret]
    labels = f"every label is there but those of {' and '.join(secret)}, which are secret"
    yield Finding("ok", f"{text} images, {labels if secret else 'every label is there'}")


def shared_files(listings: Sequence[Listing], case: Case) -> Iterator[Finding]:
    """Images that two splits name, where that is no part of what the splits are: a leak."""
    for first, second in split_pairs(listings):
        own = {pair.image for pair in first.pairs}
        for pair in second.pairs:
            if pair.image in own:
                text = f"{pair.image} belongs to {first.split} and to {second.split}: scores on either mean nothing."
                yield Finding("fault", text, case.again, "leak")


def split_pairs(listings: Sequence[Listing]) -> Iterator[tuple[Listing, Listing]]:
    """Pairs of splits that may share nothing; ``trainval`` holds ``val``, and what is called train may overlap."""
    for place, first in enumerate(listings):
        for second in listings[place + 1 :]:
            training = first.split.startswith("train") and second.split.startswith("train")
            if not (training or first.split in second.split or second.split in first.split):
                yield first, second


def litter(listings: Sequence[Listing], case: Case) -> Iterator[Finding]:
    """Hidden files beside the data, and empty ones that no list names: nobody reads them, and they confuse."""
    parts = {case.folder, *(path.parent for item in listings for path in item.stats)}
    listed = {path for item in listings for path in item.stats}
    hidden: list[Path] = []
    empty: list[Path] = []
    for part in sorted(parts):
        for item in sorted(part.iterdir()):
            if item.name == HIDDEN:  # segbench keeps there what it unpacked
                continue
            if item.name[0] == "." or item.name in _LITTER:
                hidden.append(item)
            elif item not in listed and item.is_file() and item.stat().st_size == 0:
                empty.append(item)
    for found, word in ((hidden, "hidden"), (empty, "empty")):
        if found:
            text = f"{len(found):,} {word} file{'s' * (len(found) > 1)} among the data (e.g. {found[0]}): not read."
            yield Finding("note", text, kind=f"{word} files")
