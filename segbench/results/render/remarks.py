"""Remarks below the table of a section, a line each."""

import re
from collections.abc import Iterable, Sequence

from segbench.metrics.rules import COST_RULES
from segbench.results.flat import class_rows
from segbench.results.verdicts import FigureVerdict, TableReport

from .cells import DAGGER, many, mean_of, number

# What a reader wants to know first of what differs.
_WEIGHTY = tuple(
    re.compile(start)
    for start in (
        "generated", "data set", r"(method|decoder|backbone) \S+ instead of", "batch statistics", "steps",
        "random instead", "backbone width",
    )
)  # fmt: skip
_OTHER_DATA = 1  # the last of them that says so


def floor(entries: Sequence[FigureVerdict]) -> list[str]:
    """Return the mIoU of predicting one class everywhere on the images measured: the floor of every mIoU."""
    floors = {
        (record.dataset, record.split): value
        for entry in entries
        if entry.figure.metric == "miou" and entry.shown is not None
        for record in entry.shown.records
        if (value := record.figures.get("constant_miou")) is not None
    }
    return [f"best constant prediction: mIoU {value:.2f}" for value in dict.fromkeys(floors.values())]


def cost(entries: Sequence[FigureVerdict]) -> list[str]:
    """Name the rule that multiply-adds were counted by, and give the usual FLOP count."""
    counted = [
        (entry.title, record)
        for entry in entries
        if entry.figure.metric == "flops_g" and entry.shown is not None
        for record in entry.shown.records
    ]
    rules = dict.fromkeys(str(record.provenance.get("rule", "")) for _, record in counted)
    lines = [f"counting rule {name}: {COST_RULES[name].sentence}" for name in rules if name in COST_RULES]
    usual = [
        f"{title} {value:,.2f} G"
        for title, record in counted
        if (value := record.figures.get("usual_flops_g")) is not None
    ]
    return [*lines, *([f"the usual FLOP count (a multiply-add is two): {', '.join(usual)}"] if usual else [])]


def ratio(report: TableReport, entries: Sequence[FigureVerdict]) -> list[str]:
    """Return alignment over uniformity, measured and printed: unlike both, it is free of the features' length."""
    printed = {
        (entry.figure.row, entry.figure.dataset): entry.figure.value
        for entry in report.entries
        if entry.figure.metric == "uniformity"
    }
    rows = []
    for entry in entries:
        figure = entry.figure
        between = printed.get((figure.row, figure.dataset))
        if figure.metric == "alignment" and between:
            records = entry.shown.records if entry.shown else ()
            mean = number(mean_of(records, "alignment_over_uniformity"), 2)
            rows.append(f"{entry.title} {mean} ({figure.value / between:.2f})")
    return [f"alignment over uniformity, which no scale changes (printed): {', '.join(rows)}"] if rows else []


def length(entries: Sequence[FigureVerdict]) -> list[str]:
    """Return the figures of features at the other length: as they are, or scaled to 1."""
    lines = []
    for ending, scaled in (("_unit", "scaled to unit length"), ("_raw", "as they are")):
        found = [
            f"{entry.title} {mean:.2f}"
            for entry in entries
            if entry.figure.kind == "feature" and entry.shown is not None and not entry.figure.is_relative
            if (mean := mean_of(entry.shown.records, f"{entry.figure.metric}{ending}")) is not None
        ]
        lines += [f"with the features {scaled}: {', '.join(found)}"] if found else []
    return lines


def deviations(entries: Sequence[FigureVerdict]) -> list[str]:
    """Return the deviations from the publication; rows with equal ones share a line."""
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for entry in entries:
        if entry.deviations or entry.recorded:
            names = groups.setdefault((entry.deviations, entry.recorded), [])
            if entry.title not in names:
                names.append(entry.title)
    lines = []
    for (material, recorded), names in groups.items():
        who = f" ({'; '.join(names)})" if len(groups) > 1 else ""
        lines += [f"deviations{who}: {', '.join(material)}"] if material else []
        lines += [f"recorded, not material{who}: {', '.join(recorded)}"] if recorded else []
    return lines


def deviations_in_brief(entries: Sequence[FigureVerdict], *, named: int = 3) -> list[str]:
    """Return one line: how many deviations all rows share, the first of them, and how many more single rows have.

    Other data come first, then those that settings of the command line make.
    """
    found = list(dict.fromkeys(entry.deviations for entry in entries if entry.deviations))
    if not found:
        return []
    common = [each for each in found[0] if all(each in own for own in found)]
    more = [len(own) - len(common) for own in found]
    asked = _asked_for(entries)
    first = sorted(common or found[0], key=lambda each: (_weight(each) > _OTHER_DATA, each not in asked, _weight(each)))
    rest = f" and {len(first) - named} more" if len(first) > named else ""
    line = f"{many(len(first), 'deviation')}: {', '.join(first[:named])}{rest}"
    if common and any(more):
        line += f"; up to {max(more)} besides of single rows"
    elif not common:
        line = f"deviations differ from row to row, of one of them {line}"
    return [f"{line} (--deviations: all)"]


def _asked_for(entries: Sequence[FigureVerdict]) -> set[str]:
    """Return the deviations that settings of the command line make."""
    shown = {id(entry.shown): entry.shown for entry in entries if entry.shown is not None}
    return {
        str(deviation)
        for variant in shown.values()
        for deviation in (variant.deviations if variant.settings else ())
        if any(deviation.path.startswith(path) for path in variant.settings)
    }


def _weight(deviation: str) -> int:
    """Return the place of a deviation among those that a brief line names first."""
    return next((place for place, start in enumerate(_WEIGHTY) if start.match(deviation)), len(_WEIGHTY))


def contradictions(entries: Iterable[FigureVerdict]) -> list[str]:
    """Return the contradictions that the daggers of a section refer to."""
    found = dict.fromkeys(text for entry in entries for text in entry.contradictions)
    return [f"{DAGGER} {text}" for text in found]


def classes(report: TableReport, entries: Sequence[FigureVerdict], *, limit: int = 3) -> list[str]:
    """Return the classes furthest from the publication, for rows that missed it."""
    lines = []
    for entry in entries:
        figure = entry.figure
        if entry.verdict in ("higher", "lower") and figure.metric == "miou":
            rows = [
                row
                for row in class_rows(report, dataset=figure.dataset)
                if row["row"] == figure.row and row["difference"] is not None
            ]
            rows.sort(key=lambda row: -abs(row["difference"]))
            named = [f"{row['class'].replace('_', ' ')} {row['difference']:+.1f}" for row in rows[:limit]]
            if named:
                lines.append(f"Classes that make the difference ({entry.title}): {', '.join(named)}")
    return lines
