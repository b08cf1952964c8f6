"""The end of a report: attempts, the readings behind the verdicts, and the next command."""

import shlex

from segbench.recipe.figures import GAIN, INCREASE
from segbench.results.verdicts import RowReport, TableReport

from .blocks import Code, Span
from .cells import NAMES, many, mean_of


def attempts(report: TableReport) -> str:
    """Count the attempts at a table: reading sets, trainings, budgets."""
    every = [variant for row in report.rows for variant in row.attempts]
    if not every:
        return "Attempts so far: none."
    readings = {tuple(sorted(variant.readings.items())) for variant in every}
    budgets = list(dict.fromkeys(variant.budget for variant in every))
    changed = sum(bool(variant.settings) for variant in every)
    trainings = frozenset().union(*(variant.trainings for variant in every))
    parts = [many(len(readings), "reading set")]
    parts += [many(len(trainings), "training")] if trainings else []
    parts += [f"budget{'s' if len(budgets) > 1 else ''} {', '.join(budgets)}"]
    parts += [f"{many(changed, 'attempt')} with changed settings"] if changed else []
    lost = sum(len(row.lost) for row in report.rows)
    parts += [f"{many(lost, 'attempt')} that the recipe no longer understands"] if lost else []
    return f"Attempts so far: {', '.join(parts)}."


def other_variants(report: TableReport) -> list[str]:
    """Describe the attempts that are not shown, a line each."""
    lines = []
    for row in report.rows:
        for variant in row.attempts:
            if row.shown is None or variant.label != row.shown.label:
                seeds = many(len(variant.records), "seed") if variant.records else "no result"
                means = "".join(
                    f", {NAMES.get(metric, metric).split(',')[0]} {mean:.2f}"
                    for metric in _metrics(report, row)
                    if (mean := mean_of(variant.records, metric)) is not None
                )
                lines.append(f"{row.title} on {row.dataset}, {variant.label}: {seeds}{means}")
        lines += [f"{row.title} on {row.dataset}, {text}" for text in row.lost]
    return lines


def rests_on(report: TableReport) -> tuple[Span, ...]:
    """Count the readings behind the verdicts by confidence; empty if there are none."""
    uses = report.readings()
    if not uses:
        return ()
    parts: list[str] = []
    for confidence in ("high", "medium", "low"):
        names = list(dict.fromkeys(use.name for use in uses if use.confidence == confidence))
        if names:
            counted = str(len(names)) if parts else many(len(names), "reading")
            listed = f" ({', '.join(names)})" if confidence == "low" else ""
            parts.append(f"{counted} of {confidence} confidence{listed}")
    text = "Rests on " + " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    recalled = list(dict.fromkeys(use.name for use in uses if use.is_recollected))
    if recalled:
        text += f"; recollections that nobody has checked: {', '.join(recalled)}"
    missed = [entry for entry in report.entries if entry.verdict in ("higher", "lower") and entry.confidence == "low"]
    if not missed:
        return (f"{text}.",)
    return (f"{text}: a ", Code(missed[0].verdict), " here may be the reading, not the paper.")


def next_command(report: TableReport) -> str:
    """Return the command that helps most, with the options that were given; empty if none helps."""
    command = _most_helpful(report)
    given = [f" {option} {shlex.quote(value)}" for option, value in report.repeat if f"{option} " not in command]
    return f"{command}{''.join(given)}" if command else ""


def _most_helpful(report: TableReport) -> str:
    budgets = {row.shown.budget for row in report.rows if row.shown is not None}
    scaled = next(iter(budgets)) if len(budgets) == 1 and "full" not in budgets else ""
    places = {row.shown.on for row in report.rows if row.shown is not None}
    place = next(iter(places)) if len(places) == 1 else None
    more = (f" --on {place}" if place else "") + (f" --budget {scaled}" if scaled else "")
    for verdict in ("not run", "undecided", "differs", "consistent", "not comparable"):
        if scaled and verdict == "not comparable":
            continue  # its command runs the full budget, which was not chosen here
        entries = [entry for entry in report.entries if entry.verdict == verdict and entry.next]
        entries.sort(key=lambda entry: entry.seeds_needed or 0)
        commands = list(dict.fromkeys(entry.next for entry in entries))
        if len(commands) > 1 and verdict == "not run":
            return f"segbench reproduce {report.table}{more}"
        if commands:
            return commands[0] + more
    return f"segbench report {report.table} --per-class" if any(row.per_class for row in report.rows) else ""


def _metrics(report: TableReport, row: RowReport) -> list[str]:
    """Return the metrics that are printed for a row; mIoU if none is."""
    own = [
        entry.figure for entry in report.entries if (entry.figure.row, entry.figure.dataset) == (row.row, row.dataset)
    ]
    scored = [figure.metric for figure in own if figure.headline and figure.kind in ("trained", "feature")]
    return [name for name in dict.fromkeys(scored) if not name.endswith((GAIN, INCREASE))] or ["miou"]
