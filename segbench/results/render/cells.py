"""Cells and headings that every format of a report shares."""

from collections import Counter
from collections.abc import Iterable, Sequence

from segbench.recipe.figures import INCREASE, METRICS
from segbench.results.record import Record
from segbench.results.statistics import expected_maximum
from segbench.results.verdicts import VERDICTS, FigureVerdict, SectionKey, TableReport

NAMES = {"miou": "mIoU", "iou": "IoU by class", "dice": "Dice", "iiou": "iIoU", "params_m": "parameters",
         "flops_g": "multiply-adds", "sec_per_epoch": "time of an epoch", "sec_per_iter": "time of a step",
         "category_miou": "category mIoU", "category_iiou": "category iIoU",
         "alignment": "alignment A, lower is better", "uniformity": "uniformity U",
         "neighborhood_uniformity_3": "uniformity of the 3 nearest, U3",
         "neighborhood_uniformity_5": "uniformity of the 5 nearest, U5"}  # fmt: skip
DAGGER = "†"


def number(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """Format a number; None is a hyphen, and a zero has no sign."""
    if value is None:
        return "-"
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    return text if text.strip("+-0.") else text.lstrip("+-")


def many(count: int, name: str) -> str:
    """Return ``1 training``, ``3 trainings``."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def mean_of(records: Iterable[Record], metric: str) -> float | None:
    """Return the mean of a metric over records; None if none has it."""
    known = [value for record in records if (value := record.figures.get(metric)) is not None]
    return sum(known) / len(known) if known else None


def digits(entry: FigureVerdict) -> int:
    """Return the decimals of a measured value: those printed, and at least two where a spread matters."""
    figure = entry.figure
    return figure.decimals if figure.kind == "exact" else max(2, figure.decimals)


def label(report: TableReport, entry: FigureVerdict) -> str:
    """Return the first cell of a line: the row, its class, or the two rows that a gain compares."""
    figure = entry.figure
    if figure.is_relative:
        over = next((row.title for row in report.rows if row.row == figure.over), figure.over)
        kind = "increase, percent, of" if figure.metric.endswith(INCREASE) else "gain of"
        return f"{kind} {entry.title} over {over}"
    return f"{entry.title}, {figure.class_name}" if figure.class_name else entry.title


def published(entry: FigureVerdict) -> str:
    """Return the printed value, with how it is read and a dagger if the publication contradicts it."""
    figure = entry.figure
    read = f" (read {figure.read_as})" if figure.read_as else ""
    return f"{figure.printed}{read}{f' {DAGGER}' if entry.contradictions else ''}"


def measured(entry: FigureVerdict) -> str:
    """Return the mean, with the standard deviation over seeds if there is one."""
    places = digits(entry)
    value = number(entry.measured, places, sign=entry.figure.is_relative)
    return f"{value} ± {number(entry.deviation, places)}" if entry.deviation is not None else value


def difference(entry: FigureVerdict) -> str:
    """Return the measured less the published value."""
    return number(entry.difference, digits(entry), sign=True)


def note(entry: FigureVerdict) -> str:
    """Return the remarks beside a verdict: interval, reason, variant, tolerance, runs and the recipe's own note."""
    remarks = []
    if entry.narrow is not None:
        remarks.append(f"90 % interval ± {entry.narrow:.2f}")
    if entry.reason:
        remarks.append(entry.reason)
    if entry.correlation is not None:
        remarks.append(f"seed correlation {entry.correlation:+.2f}")
    if entry.shown is not None and entry.verdict != "not comparable" and entry.shown.label != "budget full":
        remarks.append(entry.shown.label)
    if entry.figure.tolerance:
        remarks.append(f"tolerance {entry.figure.tolerance:g}: {entry.figure.tolerance_source}")
    if entry.figure.average == "micro":
        remarks.append("pooled over the classes, which equals the pixel accuracy")
    if entry.looks > 1:
        remarks.append(f"seeds were added {many(entry.looks - 1, 'time')} after results were seen")
    if (entry.figure.runs or 1) > 1:
        remarks.append(f"mean of {entry.figure.runs} runs")
    if entry.figure.note:
        remarks.append(entry.figure.note)
    return "; ".join(remarks)


def heading(report: TableReport, section: SectionKey, entries: Sequence[FigureVerdict]) -> str:
    """Return the heading of a section: ``contextrast-table6 · camvid test · mIoU (%)``."""
    dataset, split, metric = section
    unit = METRICS[metric].unit
    where = "data set unstated" if dataset == "unstated" else f"{dataset} {split}"
    if split == "unstated" and dataset != "unstated":
        shown = [entry.shown.records[0].split for entry in entries if entry.shown]
        where = f"{dataset}, split unstated" + (f", measured on {shown[0]}" if shown else "")
    places = {
        (entry.shown.on, entry.shown.records[0].split) for entry in entries if entry.shown and entry.shown.records
    }
    if len(places) == 1 and (place := places.pop())[0] is not None:
        where += f", measured on {place[0]} {place[1]}"
    name = NAMES.get(metric, metric)
    if entries and all(entry.figure.average == "micro" for entry in entries):
        name = f"micro {name}"
    return f"{report.table} · {where} · {name}" + (f" ({unit})" if unit else "")


def basis(entries: Sequence[FigureVerdict]) -> str:
    """Return the seeds, spreads and margin behind a section's verdicts."""
    plain = [entry for entry in entries if not entry.figure.is_relative and entry.measured is not None]
    if not plain:
        return "nothing measured yet" if not any(entry.measured is not None for entry in entries) else ""
    if plain[0].figure.kind == "exact":
        return "counted, matched to the printed digit"
    counts = sorted({len(entry.seeds) for entry in plain})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    parts = [f"{seeds} seed{'' if counts[-1] == 1 else 's'} a row"]
    spreads = list(dict.fromkeys(entry.spread for entry in entries if entry.spread is not None))
    for spread in spreads:
        rows = f"pooled over {spread.groups} rows" if spread.groups > 1 else "of one row"
        origin = f"borrowed from {spread.source}" if spread.source else rows
        parts.append(f"spread {origin}: s = {spread.s:.2f}")
    margins = sorted({entry.margin for entry in entries if entry.margin is not None})
    parts += [f"margin {margin:g}" for margin in margins]
    judged = [entry for entry in entries if entry.spread is not None and entry.narrow is not None]
    if judged and any(entry.figure.runs is None for entry in judged):
        parts.append("runs behind the print unstated: counted as one")
    if judged and all(entry.figure.best_of is None for entry in judged):
        lift = max(expected_maximum(5) * entry.spread.s for entry in judged if entry.spread)
        parts.append(f"a best of 5 would print {lift:.2f} more")
    return ", ".join(parts)


def summary(entries: Iterable[FigureVerdict], gains: str = "") -> str:
    """Count the verdicts: ``1 of 4 reproduced, 1 lower, 2 not run; the gain is reproduced.``

    Args:
        entries: printed figures with their verdicts.
        gains: count of the gains that exist here, added last.
    """
    headline = [entry for entry in entries if entry.figure.headline]
    plain = [entry for entry in headline if not entry.figure.is_relative]
    relative = [entry for entry in headline if entry.figure.is_relative]
    parts = [_counted(plain)] if plain else []
    if len(relative) == 1:
        parts.append(f"the {_kind(relative)} is {relative[0].word}")
    elif relative:
        parts.append(f"of the {_kind(relative)}s {_counted(relative)}")
    parts += [gains] if gains else []
    text = "; ".join(parts) or "no figure of its own"
    return f"{text[0].upper()}{text[1:]}."


def _kind(entries: Sequence[FigureVerdict]) -> str:
    return "increase" if all(entry.figure.metric.endswith(INCREASE) for entry in entries) else "gain"


def _counted(entries: Sequence[FigureVerdict]) -> str:
    counts = Counter(entry.word for entry in entries)
    order = sorted(counts, key=lambda word: [word.startswith(known) for known in VERDICTS].index(True))
    words = [f"{counts[word]} {word}" for word in order if word != "reproduced"]
    return ", ".join([f"{counts['reproduced']} of {len(entries)} reproduced", *words])
