"""The sentences and cells that every format of a report shares."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from segbench.metrics.rules import COST_RULES
from segbench.recipe.figures import INCREASE, METRICS
from segbench.results.flat import class_rows
from segbench.results.gains import Gain, gains
from segbench.results.verdicts import WORDS, Judged, TableReport

NAMES = {"miou": "mIoU", "iou": "IoU by class", "dice": "Dice", "iiou": "iIoU", "params_m": "parameters",
         "flops_g": "multiply-adds", "sec_per_epoch": "time of an epoch", "sec_per_iter": "time of a step",
         "category_miou": "category mIoU", "category_iiou": "category iIoU",
         "alignment": "alignment A, lower is better", "uniformity": "uniformity U",
         "neighborhood_uniformity_3": "uniformity of the 3 nearest, U3",
         "neighborhood_uniformity_5": "uniformity of the 5 nearest, U5"}  # fmt: skip
DAGGER = "†"
Section = tuple[str, str, str]


def number(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """A number with its digits; a hyphen where there is none."""
    if value is None:
        return "-"
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    return text if text.strip("+-0.") else text.lstrip("+-")  # no sign before a zero


def digits(entry: Judged) -> int:
    """Decimals of what was measured: those printed, and two at least where a spread matters."""
    figure = entry.figure
    return figure.decimals if figure.kind == "exact" else max(2, figure.decimals)


def label(report: TableReport, entry: Judged) -> str:
    """What a line is about: the row, its class, or the two rows that a gain compares."""
    figure = entry.figure
    if figure.is_relative:
        over = next((row.title for row in report.rows if row.row == figure.over), figure.over)
        what = "increase, percent, of" if figure.metric.endswith(INCREASE) else "gain of"
        return f"{what} {entry.title} over {over}"
    return f"{entry.title}, {figure.class_name}" if figure.class_name else entry.title


def published(entry: Judged) -> str:
    figure = entry.figure
    read = f" (read {figure.read_as})" if figure.read_as else ""
    return f"{figure.printed}{read}{f' {DAGGER}' if entry.daggers else ''}"


def measured(entry: Judged) -> str:
    """Mean, and the standard deviation over seeds where there is one."""
    places = digits(entry)
    value = number(entry.measured, places, sign=entry.figure.is_relative)
    return f"{value} ± {number(entry.deviation, places)}" if entry.deviation is not None else value


def difference(entry: Judged) -> str:
    return number(entry.difference, digits(entry), sign=True)


def note(entry: Judged) -> str:
    """What stands beside a verdict: the interval, why, and how often it was tried."""
    parts = []
    if entry.half_width is not None:
        parts.append(f"interval ± {entry.half_width:.2f}")
    parts += [part for part in (entry.reason,) if part]
    if entry.correlation is not None:
        parts.append(f"seed correlation {entry.correlation:+.2f}")
    if entry.shown is not None and entry.verdict != "not comparable" and str(entry.shown) != "budget full":
        parts.append(str(entry.shown))
    if entry.figure.tolerance:
        parts.append(f"tolerance {entry.figure.tolerance:g}: {entry.figure.tolerance_source}")
    if entry.figure.runs > 1:
        parts.append(f"mean of {entry.figure.runs} runs")
    if entry.figure.note:
        parts.append(entry.figure.note)
    return "; ".join(parts)


def heading(report: TableReport, section: Section, entries: Sequence[Judged]) -> str:
    """``contextrast-table6 · camvid test · mIoU (%)``."""
    dataset, split, metric = section
    unit = METRICS[metric].unit
    where = "data set unstated" if dataset == "unstated" else f"{dataset} {split}"
    if split == "unstated" and dataset != "unstated":
        shown = [entry.shown.records[0].split for entry in entries if entry.shown]
        where = f"{dataset}, split unstated" + (f", measured on {shown[0]}" if shown else "")
    return f"{report.table} · {where} · {NAMES.get(metric, metric)}" + (f" ({unit})" if unit else "")


def basis(entries: Sequence[Judged]) -> str:
    """Seeds, spread and margin behind a section's verdicts."""
    plain = [entry for entry in entries if not entry.figure.is_relative and entry.measured is not None]
    if not plain:
        return "nothing measured yet" if not any(entry.measured is not None for entry in entries) else ""
    if plain[0].figure.kind == "exact":
        return "counted, matched to the printed digit"
    counts = sorted({len(entry.seeds) for entry in plain})
    many = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    parts = [f"{many} seed{'' if counts[-1] == 1 else 's'} a row"]
    spreads = list(dict.fromkeys(entry.spread for entry in entries if entry.spread is not None))
    for spread in spreads:
        rows = f"pooled over {spread.groups} rows" if spread.groups > 1 else "of one row"
        origin = f"borrowed from {spread.source}" if spread.source else rows
        parts.append(f"spread {origin}: s = {spread.s:.2f}")
    margins = sorted({entry.margin for entry in entries if entry.margin is not None})
    parts += [f"margin {margin:g}" for margin in margins]
    return ", ".join(parts)


def summary(entries: Iterable[Judged]) -> str:
    """``1 of 4 reproduced, 1 lower, 2 not run; the gain is reproduced.``"""
    headline = [entry for entry in entries if entry.figure.headline]
    plain = [entry for entry in headline if not entry.figure.is_relative]
    relative = [entry for entry in headline if entry.figure.is_relative]
    parts = [_counted(plain)] if plain else []
    if len(relative) == 1:
        parts.append(f"the {_kind(relative)} is {relative[0].word}")
    elif relative:
        parts.append(f"of the {_kind(relative)}s {_counted(relative)}")
    text = "; ".join(parts) or "no figure of its own"
    return f"{text[0].upper()}{text[1:]}."


def _kind(entries: Sequence[Judged]) -> str:
    return "increase" if all(entry.figure.metric.endswith(INCREASE) for entry in entries) else "gain"


def _counted(entries: Sequence[Judged]) -> str:
    counts = Counter(entry.word for entry in entries)
    order = sorted(counts, key=lambda word: [word.startswith(known) for known in WORDS].index(True))
    words = [f"{counts[word]} {word}" for word in order if word != "reproduced"]
    return ", ".join([f"{counts['reproduced']} of {len(entries)} reproduced", *words])


def rests_on(report: TableReport) -> str:
    """The readings behind the verdicts, by confidence; empty if there are none."""
    uses = report.readings()
    if not uses:
        return ""
    parts: list[str] = []
    for confidence in ("high", "medium", "low"):
        names = list(dict.fromkeys(use.name for use in uses if use.confidence == confidence))
        if names:
            many = len(names) if parts else _many(len(names), "reading")
            listed = f" ({', '.join(names)})" if confidence == "low" else ""
            parts.append(f"{many} of {confidence} confidence{listed}")
    text = "Rests on " + " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    missed = [entry for entry in report.entries if entry.verdict in ("higher", "lower") and entry.confidence == "low"]
    doubt = f": a `{missed[0].verdict}` here may be the reading, not the paper." if missed else "."
    return text + doubt


def attempts(report: TableReport) -> str:
    """How often and how differently the table was tried."""
    every = [tried for row in report.rows for tried in row.attempts]
    if not every:
        return "Attempts so far: none."
    readings = {tuple(sorted(tried.readings.items())) for tried in every}
    budgets = list(dict.fromkeys(tried.budget for tried in every))
    changed = sum(bool(tried.settings) for tried in every)
    trainings = frozenset().union(*(tried.trainings for tried in every))
    parts = [_many(len(readings), "reading set")]
    parts += [_many(len(trainings), "training")] if trainings else []
    parts += [f"budget{'s' if len(budgets) > 1 else ''} {', '.join(budgets)}"]
    parts += [f"{_many(changed, 'attempt')} with changed settings"] if changed else []
    lost = sum(len(row.lost) for row in report.rows)
    parts += [f"{_many(lost, 'attempt')} that the recipe no longer understands"] if lost else []
    return f"Attempts so far: {', '.join(parts)}."


def attempt_lines(report: TableReport) -> list[str]:
    """Attempts that are not the ones shown, a line each."""
    lines = []
    for row in report.rows:
        for tried in row.attempts:
            if row.shown is None or str(tried) != str(row.shown):
                seeds = _many(len(tried.records), "seed") if tried.records else "no result"
                scores = [record.figures.get("miou") for record in tried.records]
                known = [score for score in scores if score is not None]
                mean = f", mIoU {sum(known) / len(known):.2f}" if known else ""
                lines.append(f"{row.title} on {row.dataset}, {tried}: {seeds}{mean}")
        lines += [f"{row.title} on {row.dataset}, {text}" for text in row.lost]
    return lines


def deviation_lines(report: TableReport, entries: Sequence[Judged]) -> list[str]:
    """What ran otherwise than published; rows that share it share a line."""
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


def floor_lines(entries: Sequence[Judged]) -> list[str]:
    """What predicting one class everywhere would score on the images measured: the floor of every mIoU."""
    floors = {
        (record.dataset, record.split): value
        for entry in entries
        if entry.figure.metric == "miou" and entry.shown is not None
        for record in entry.shown.records
        if (value := record.figures.get("constant_miou")) is not None
    }
    return [f"best constant prediction: mIoU {value:.2f}" for value in dict.fromkeys(floors.values())]


def unprinted_lines(report: TableReport) -> list[str]:
    """Scores of rows that print no figure: settings that somebody ran all the same."""
    judged = {(entry.figure.row, entry.figure.dataset) for entry in report.entries}
    lines = []
    for row in report.rows:
        if row.shown is None or (row.row, row.dataset) in judged:
            continue
        scores = [score for record in row.shown.records if (score := record.figures.get("miou")) is not None]
        if scores:
            mean, split = sum(scores) / len(scores), row.shown.records[0].split
            lines.append(
                f"{row.title} on {row.dataset} {split}, no figure printed: mIoU {mean:.2f}"
                f" ({_many(len(scores), 'seed')}, {row.shown})"
            )
    return lines


def cost_lines(entries: Sequence[Judged]) -> list[str]:
    """Under which rule multiply-adds were counted, and the usual FLOP count beside them."""
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


def ratio_lines(report: TableReport, entries: Sequence[Judged]) -> list[str]:
    """Alignment over uniformity, printed and measured: unlike both, it does not grow with the length of features."""
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
            known = [record.figures.get("alignment_over_uniformity") for record in records]
            found = [value for value in known if value is not None]
            mean = number(sum(found) / len(found) if found else None, 2)
            rows.append(f"{entry.title} {mean} ({figure.value / between:.2f})")
    return [f"alignment over uniformity, which no scale changes (printed): {', '.join(rows)}"] if rows else []


def gain_lines(report: TableReport, section: Section) -> list[str]:
    """What rows have over those they improve on, by the printed figures and as measured, and how many signs agree.

    A gain that is printed has a line of its own in the table already.
    """
    found = gains(report, section)
    if not found:
        return []
    told = {entry.figure.row for entry in report.sections()[section] if entry.figure.is_relative}
    decimals = {entry.figure.row: entry.figure.decimals for entry in report.sections()[section]}
    lines = [
        f"gain of {gain.name} over {gain.over_title}: {gain.printed:+.{decimals[gain.row]}f} by the printed figures, "
        f"{gain.measured:+.2f} measured{_sign(gain)}"
        for gain in found
        if not gain.counts or gain.row not in told
    ]
    counted = [gain for gain in found if gain.counts]
    if not counted:
        return lines
    agree = sum(gain.same_sign for gain in counted)
    chance = "; of one seed, a sign may be chance" if min(gain.seeds for gain in counted) < 2 else ""
    have = "has" if 1 in (agree, len(counted)) else "have"
    return [*lines, f"{agree} of {_many(len(counted), 'gain')} {have} the published sign{chance}"]


def _sign(gain: Gain) -> str:
    """What is to be said of a measured gain whose sign is not simply the published one."""
    sign = "" if gain.same_sign else ", without the published sign" if gain.measured else ", so no sign"
    return sign if gain.counts else f"{sign}; another reading, not counted"


def dagger_lines(entries: Iterable[Judged]) -> list[str]:
    return [f"{DAGGER} {text}" for text in dict.fromkeys(text for entry in entries for text in entry.daggers)]


def class_line(report: TableReport, entries: Sequence[Judged], *, limit: int = 3) -> list[str]:
    """For rows that missed: the classes furthest from the publication."""
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


def next_command(report: TableReport) -> str:
    """The one command that helps most, with the options that were given; empty if none does."""
    command = _most_helpful(report)
    given = [f" {option} {shlex.quote(value)}" for option, value in report.repeat if f"{option} " not in command]
    return f"{command}{''.join(given)}" if command else ""


def _most_helpful(report: TableReport) -> str:
    budgets = {row.shown.budget for row in report.rows if row.shown is not None}
    scaled = next(iter(budgets)) if len(budgets) == 1 and "full" not in budgets else ""
    places = {row.shown.resolved.request.on for row in report.rows if row.shown is not None}
    place = next(iter(places)) if len(places) == 1 else None
    more = (f" --on {place}" if place else "") + (f" --budget {scaled}" if scaled else "")
    for verdict in ("not run", "undecided", "not comparable"):
        if scaled and verdict == "not comparable":
            continue  # it asks for the full budget, which is not for the machine that chose another
        entries = [entry for entry in report.entries if entry.verdict == verdict and entry.next]
        entries.sort(key=lambda entry: entry.seeds_needed or 0)
        commands = list(dict.fromkeys(entry.next for entry in entries))
        if len(commands) > 1 and verdict == "not run":
            return f"segbench reproduce {report.table}{more}"
        if commands:
            return commands[0] + more
    return f"segbench report {report.table} --per-class" if any(row.per_class for row in report.rows) else ""


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"
