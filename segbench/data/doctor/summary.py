"""Findings on the counts of a data set: sizes, formats, classes, and the numbering of the labels."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from segbench.data.classes import IGNORE, class_table
from segbench.data.reader import Finding

from .case import Case
from .encoding import Encoding, explain
from .report import SplitReport, Tally, enumerate_names, spans


def sizes(reports: Sequence[SplitReport]) -> Iterator[Finding]:
    """Yield the size of all images, or its range, and the formats of images and labels.

    The finding is that every file can be read only if that is true of every complete pair.
    """
    read = [report.tally for report in reports if report.tally.images]
    if not read:
        return
    low, high = min(tally.heights[0] for tally in read), max(tally.heights[1] for tally in read)
    left, right = min(tally.widths[0] for tally in read), max(tally.widths[1] for tally in read)
    one = (low, left) == (high, right)
    size = f"of {low}x{left}" if one else f"{low} to {high} high and {left} to {right} wide"
    images = sum((tally.image_kinds for tally in read), Counter[str]())
    labels = sum((tally.label_kinds for tally in read), Counter[str]())
    kinds = f"images {size}, {_kinds(images)}" + (f"; labels {_kinds(labels)}" if labels else "")
    labelled = [report for report in reports if not report.secret]
    every = all(report.tally.images == report.complete for report in reports)
    every &= all(report.tally.labels == report.complete for report in labelled)
    yield Finding("ok", f"every file can be read: {kinds}" if every else f"of what can be read: {kinds}")
    for report in reports:
        if len(report.tally.label_kinds) > 1:
            text = f"the labels of {report.split} are a mixture: {_kinds(report.tally.label_kinds)}."
            yield Finding("note", text, kind="mixed labels")


def guesses(reports: Sequence[SplitReport], case: Case) -> dict[str, str]:
    """Return the description of the numbering of every split whose labels follow another one than the data set's.

    All classes of a published data set occur, so that absent ones are a trace of another numbering too.
    """
    tables = [class_table(name) for name in (case.options.table, *case.options.variants)]
    found = {}
    for report in reports:
        if report.tally.mapped(case.table)[2] and (guess := explain(report.tally.raw, tables)):
            found[report.split] = _description(guess)
    if not found and case.published and (guess := explain(_total(reports).raw, tables)):
        found = {report.split: _description(guess) for report in reports if report.tally.labels}
    return found


def numbering(found: dict[str, str], reports: Sequence[SplitReport], case: Case) -> Iterator[Finding]:
    """Yield one fault for all splits that follow the same foreign numbering."""
    tallies = {report.split: report.tally for report in reports}
    for description in dict.fromkeys(found.values()):
        splits = [split for split, guess in found.items() if guess == description]
        values = spans(sorted({value for split in splits for value in tallies[split].values}))
        expected = spans([value for value, _ in case.table.values])
        text = (
            f"The labels of {', '.join(splits)} look like {description}: they hold {values}; "
            f"the label files of {case.options.title} hold {expected}."
        )
        yield Finding("fault", text, case.replace_command, "numbering")


def classes(reports: Sequence[SplitReport], case: Case, *, complete: bool) -> Iterator[Finding]:
    """Yield findings on the values and classes that occur.

    Args:
        reports: the splits that were read, with no value outside the class table.
        case: the data set.
        complete: True if these are all splits without faults, so that a class that is in none of them is a fault.
    """
    labelled = [report for report in reports if report.tally.labels]
    if not labelled:
        return
    table, total = case.table, _total(labelled)
    counts, ignored, _ = total.mapped(table)
    names = np.array(table.names)
    absent = list(names[counts == 0])
    if absent and complete and case.published:
        text = (
            f"No label contains {enumerate_names(absent)}: the labels have another numbering, "
            "which none of those known to segbench explains, or are not complete."
        )
        yield Finding("fault", text, case.replace_command, "absent")
        return
    if absent:
        yield Finding("note", f"no examined label contains {enumerate_names(absent)}.", kind="absent")
    what = f"{table.num_classes - len(absent)} of {table.num_classes}" if absent else f"all {table.num_classes}"
    nothing = spans([value for value, train_id in table.values if train_id == IGNORE and total.raw[value]])
    unscored = f", {nothing} ignored ({100 * ignored / total.pixels:.1f} % of the pixels)" if nothing else ""
    yield Finding("ok", f"labels hold {spans(total.values)}: {what} classes occur{unscored}")
    for report in labelled:
        absent = list(names[(report.tally.mapped(table)[0] == 0) & (counts > 0)])
        if absent:
            text = f"no label of {report.split} contains {enumerate_names(absent)}: no IoU of it can be measured there."
            yield Finding("note", text, kind="absent")


def _total(reports: Sequence[SplitReport]) -> Tally:
    total = Tally.empty(0)
    for report in reports:
        total.raw += report.tally.raw
    return total


def _description(encodings: Sequence[Encoding]) -> str:
    return ", or ".join(encoding.description for encoding in encodings)


def _kinds(kinds: Counter[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    return " and ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
