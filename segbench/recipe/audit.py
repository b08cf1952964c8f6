"""Inconsistencies of a printed table, by arithmetic alone.

Nothing here knows a recipe: a table is a list of printed values, from the catalog or from anybody's CSV file.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from statistics import median

from .figures import GAIN, INCREASE, Figure

_DIGITS = "0123456789"
_FEWEST_CLASSES = 2  # a mean of fewer is no mean


@dataclass(frozen=True)
class Inconsistency:
    """A contradiction.

    Attributes:
        row, group: where it stands.
        kind: ``range``, ``mean``, ``gain``, ``dice`` or ``twice``.
        says: the contradiction in a sentence.
        repair: reading that would fix it; empty if none is simple.
    """

    row: str
    group: str
    kind: str
    says: str
    repair: str = ""


def audit(values: Sequence[Figure], *, classes: int | None = None) -> list[Inconsistency]:
    """Return all contradictions of a table, row by row.

    Args:
        values: of one table.
        classes: number of classes that a mean is over; None: those that are printed.
    """
    found: list[Inconsistency] = []
    rows: dict[tuple[str, str], list[Figure]] = defaultdict(list)
    for value in values:
        rows[value.row, value.group].append(value)
    for own in rows.values():
        found += [*_ranges(own), *_means(own, values, classes), *_dice(own), *_gains(own, rows)]
    return found


def _ranges(own: Iterable[Figure]) -> Iterator[Inconsistency]:
    for value in own:
        if value.metric in ("miou", "iou", "dice") and not 0 <= Decimal(value.printed) <= 100:
            name = value.class_name or value.metric
            repair = f"read as {value.read_as}" if value.read_as else ""
            yield Inconsistency(
                value.row, value.group, "range", f"{name} is {value.printed}, which no share can be", repair
            )


def _means(own: Sequence[Figure], every: Sequence[Figure], classes: int | None) -> Iterator[Inconsistency]:
    """Hold the mIoU against the mean of the classes; rounding allows half a digit of each."""
    each = [value for value in own if value.metric == "iou" and value.class_name is not None]
    stated = next((value for value in own if value.metric == "miou"), None)
    if stated is None or len(each) < _FEWEST_CLASSES or (classes is not None and len(each) != classes):
        return
    mean = sum((value.exact for value in each), Decimal(0)) / len(each)
    allowed = stated.exact_half_digit + max(value.exact_half_digit for value in each)
    if abs(mean - stated.exact) <= allowed:
        return
    says = f"the {len(each)} classes average {mean:.2f}, the printed mIoU is {stated.printed}"
    says += f"; rounding allows {allowed.normalize()}"
    yield Inconsistency(stated.row, stated.group, "mean", says, _repair(each, stated, every))


def _repair(each: Sequence[Figure], stated: Figure, every: Sequence[Figure]) -> str:
    """Name the slips of one digit, of a class or of the mean, that would fix a mean; empty if there is none.

    Of a class only those that bring it nearer to the median of the other rows, the nearest first.
    """
    total, number = sum((value.exact for value in each), Decimal(0)), len(each)
    allowed = stated.exact_half_digit + max(value.exact_half_digit for value in each)
    found: list[tuple[Decimal, str]] = []
    for value in each:
        around = [
            other.exact
            for other in every
            if (other.group, other.class_name) == (value.group, value.class_name) and other.row != value.row
        ]
        middle = median(around) if around else None
        for slip in _slips(value.read_as or value.printed):
            if abs((total - value.exact + slip) / number - stated.exact) > allowed:
                continue
            if middle is None:
                found.append((Decimal(0), f"{value.class_name} {slip} for {value.printed}"))
            elif abs(slip - middle) < abs(value.exact - middle):
                found.append((abs(slip - middle), f"{value.class_name} {slip} for {value.printed}"))
    found += [
        (Decimal(0), f"mIoU {slip} for {stated.printed}")
        for slip in _slips(stated.read_as or stated.printed)
        if abs(total / number - slip) <= allowed
    ]
    found.sort(key=lambda pair: pair[0])
    return " or ".join(dict.fromkeys(text for _, text in found[:3])) + (" or others" if len(found) > 3 else "")


def _slips(printed: str) -> Iterator[Decimal]:
    """Yield the shares that one wrong digit, or two that changed places, may have stood for."""
    for place, digit in enumerate(printed):
        if digit in _DIGITS:
            for other in _DIGITS.replace(digit, ""):
                changed = Decimal(printed[:place] + other + printed[place + 1 :])
                if changed <= 100:
                    yield changed
    digits = [place for place, digit in enumerate(printed) if digit in _DIGITS]
    for first, second in pairwise(digits):
        if printed[first] != printed[second]:
            swapped = list(printed)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            if Decimal("".join(swapped)) <= 100:
                yield Decimal("".join(swapped))


def _dice(own: Sequence[Figure]) -> Iterator[Inconsistency]:
    """Hold Dice against mIoU: of a class D = 2 I / (1 + I), so of means I <= D <= 2 I / (1 + I), as that is concave."""
    iou = next((value for value in own if value.metric == "miou"), None)
    dice = next((value for value in own if value.metric == "dice"), None)
    if iou is None or dice is None:
        return
    least, most = ((dice.exact + sign * dice.exact_half_digit) / 100 for sign in (-1, 1))
    low, high = 100 * least / (2 - least), 100 * most
    if iou.exact + iou.exact_half_digit < low:
        says = f"Dice {dice.printed} as a mean over classes needs a mIoU of at least {low:.1f}; it is {iou.printed}"
    elif iou.exact - iou.exact_half_digit > high:
        says = f"no mean Dice is below its mean IoU: {dice.printed} and {iou.printed}"
    else:
        return
    repair = "" if dice.average == "micro" else "a Dice that is pooled over the classes"
    if dice.average == "micro":
        says += "; the Dice is read as pooled over the classes, which allows it"
    yield Inconsistency(iou.row, iou.group, "dice", says, repair)


def _gains(own: Sequence[Figure], rows: dict[tuple[str, str], list[Figure]]) -> Iterator[Inconsistency]:
    """Hold printed gains and increases against the printed values of both rows."""
    for value in own:
        base = value.metric.removesuffix(GAIN).removesuffix(INCREASE)
        if value.over is None or base == value.metric:
            continue
        pair = (rows.get((row, value.group), []) for row in (value.row, value.over))
        sides = [next((each for each in row if each.metric == base and not each.class_name), None) for row in pair]
        ours, theirs = sides
        if ours is None or theirs is None:
            continue
        low, high = _between(ours, theirs, relative=value.metric.endswith(INCREASE))
        if low - value.exact_half_digit <= value.exact <= high + value.exact_half_digit:
            continue
        says = f"{value.printed} is printed over {value.over}, {ours.printed} and {theirs.printed} give "
        made = (low + high) / 2
        yield Inconsistency(value.row, value.group, "gain", f"{says}{made:+.2f}", f"{value.metric} {made:+.2f}")


def _between(ours: Figure, theirs: Figure, *, relative: bool) -> tuple[Decimal, Decimal]:
    """Return the least and the largest gain, or increase in percent, that the rounding of two values allows."""
    corners = [
        (ours.exact + one * ours.exact_half_digit, theirs.exact + other * theirs.exact_half_digit)
        for one in (-1, 1)
        for other in (-1, 1)
    ]
    gains = [100 * (a - b) / b if relative else a - b for a, b in corners if b or not relative]
    return min(gains), max(gains)


def printed_twice(values: Iterable[tuple[str, Figure]]) -> list[Inconsistency]:
    """Return the quantities that are printed with different values.

    Args:
        values: pairs of what a figure measures, equal for one and the same, and the figure.
    """
    known: dict[str, list[Figure]] = defaultdict(list)
    for quantity, value in values:
        known[quantity].append(value)
    found = []
    for each in known.values():
        first = each[0]
        for other in each[1:]:
            if abs(first.exact - other.exact) > max(first.exact_half_digit, other.exact_half_digit):
                where = f"{other.table}/{other.row}"
                says = f"{first.metric} is {first.printed} here and {other.printed} in {where}"
                found.append(Inconsistency(f"{first.table}/{first.row}", first.group, "twice", says))
    return found
