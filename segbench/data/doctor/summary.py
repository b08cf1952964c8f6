"""What the counts of a data set say: sizes, formats, classes, and whether the labels are numbered as they should be."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from segbench.data.classes import IGNORE, class_table
from segbench.data.reader import Finding

from .case import Case
from .encoding import Encoding, explain
from .report import SplitReport, Tally, enumerate_names, spans


def sizes(parts: Sequence[SplitReport]) -> Iterator[Finding]:
    """The size of all images, or its range, and what sort of files they and their labels are.

    That every file can be read is said only if it is true of every whole pair.
    """
    read = [part.tally for part in parts if part.tally.images]
    if not read:
        return
    low, high = min(tally.heights[0] for tally in read), max(tally.heights[1] for tally in read)
    left, right = min(tally.widths[0] for tally in read), max(tally.widths[1] for tally in read)
    one = (low, left) == (high, right)
    size = f"of {low}x{left}" if one else f"{low} to {high} high and {left} to {right} wide"
    images = sum((tally.image_kinds for tally in read), Counter[str]())
    labels = sum((tally.label_kinds for tally in read), Counter[str]())
    kinds = f"images {size}, {_kinds(images)}" + (f"; labels {_kinds(labels)}" if labels else "")
    labelled = [part for part in parts if not part.secret]
    every = all(part.tally.images == part.whole for part in parts)
    every &= all(part.tally.labels == part.whole for part in labelled)
    yield Finding("ok", f"every file can be read: {kinds}" if every else f"of what can be read: {kinds}")
    for part in parts:
        if len(part.tally.label_kinds) > 1:
            text = f"the labels of {part.split} are a mixture: {_kinds(part.tally.label_kinds)}."
            yield Finding("note", text, kind="mixed labels")


def guesses(parts: Sequence[SplitReport], case: Case) -> dict[str, str]:
    """Splits whose labels follow another numbering, and what a known one that explains them says.

    Of a published data set all classes occur, so those that do not are a trace of another numbering too.
    """
    tables = [class_table(name) for name in (case.options.table, *case.options.variants)]
    found = {}
    for part in parts:
        if part.tally.mapped(case.table)[2] and (guess := explain(part.tally.raw, tables)):
            found[part.split] = _says(guess)
    if not found and case.published and (guess := explain(_total(parts).raw, tables)):
        found = {part.split: _says(guess) for part in parts if part.tally.labels}
    return found


def numbering(found: dict[str, str], parts: Sequence[SplitReport], case: Case) -> Iterator[Finding]:
    """One fault for all splits that follow the same foreign numbering."""
    tallies = {part.split: part.tally for part in parts}
    for says in dict.fromkeys(found.values()):
        splits = [split for split, guess in found.items() if guess == says]
        values = spans(sorted({value for split in splits for value in tallies[split].values}))
        expected = spans([value for value, _ in case.table.values])
        text = (
            f"The labels of {', '.join(splits)} look like {says}: they hold {values}; "
            f"the label files of {case.options.title} hold {expected}."
        )
        yield Finding("fault", text, case.again, "numbering")


def classes(parts: Sequence[SplitReport], case: Case, *, complete: bool) -> Iterator[Finding]:
    """Which values and which classes occur.

    Args:
        parts: the splits that were read, with no value outside the class table.
        case: the data set.
        complete: whether these are all splits, and whole, so that a class that is in none of them is a fault.
    """
    labelled = [part for part in parts if part.tally.labels]
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
        yield Finding("fault", text, case.again, "absent")
        return
    if absent:
        yield Finding("note", f"no label looked at contains {enumerate_names(absent)}.", kind="absent")
    what = f"{table.num_classes - len(absent)} of {table.num_classes}" if absent else f"all {table.num_classes}"
    nothing = spans([value for value, train_id in table.values if train_id == IGNORE and total.raw[value]])
    unscored = f", {nothing} ignored ({100 * ignored / total.pixels:.1f} % of the pixels)" if nothing else ""
    yield Finding("ok", f"labels hold {spans(total.values)}: {what} classes occur{unscored}")
    for part in labelled:
        lacking = list(names[(part.tally.mapped(table)[0] == 0) & (counts > 0)])
        if lacking:
            text = f"no label of {part.split} contains {enumerate_names(lacking)}: no IoU of it can be measured there."
            yield Finding("note", text, kind="absent")


def _total(parts: Sequence[SplitReport]) -> Tally:
    total = Tally.empty(0)
    for part in parts:
        total.raw += part.tally.raw
    return total


def _says(encodings: Sequence[Encoding]) -> str:
    return ", or ".join(encoding.says for encoding in encodings)


def _kinds(kinds: Counter[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    return " and ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
