"""A report as flat rows: what CSV, JSON and data frames have in common."""

from collections.abc import Iterator
from typing import Any

from .attempts import class_key
from .verdicts import Judged, TableReport, Tried

ENTRY_FIELDS = (
    "table", "row", "dataset", "split", "metric", "class", "printed", "value", "baseline",
    "runs", "note", "read_as", "verdict", "provisional", "measured", "difference", "half_width", "margin",
    "tolerance", "n_seeds", "seeds", "values", "deviation", "spread", "spread_df", "spread_groups", "spread_source",
    "p", "p_holm", "seed_correlation", "seeds_needed", "reason", "next", "deviations", "recorded", "confidence",
    "budget", "readings", "settings", "attempts", "trainings", "contradictions",
)  # fmt: skip


def entry_fields(entry: Judged) -> dict[str, Any]:
    """One figure with its verdict, as plain data; lists stay lists."""
    figure, shown, spread = entry.figure, entry.shown, entry.spread
    return {
        **figure.as_json(),
        "read_as": figure.read_as,
        "verdict": entry.verdict,
        "provisional": entry.provisional,
        "measured": entry.measured,
        "difference": entry.difference,
        "half_width": entry.half_width,
        "margin": entry.margin,
        "tolerance": figure.tolerance,
        "n_seeds": len(entry.seeds),
        "seeds": list(entry.seeds),
        "values": list(entry.values),
        "deviation": entry.deviation,
        "spread": spread.s if spread else None,
        "spread_df": spread.df if spread else None,
        "spread_groups": spread.groups if spread else None,
        "spread_source": (spread.source or "pooled") if spread else None,
        "p": entry.p,
        "p_holm": entry.p_holm,
        "seed_correlation": entry.correlation,
        "seeds_needed": entry.seeds_needed,
        "reason": entry.reason,
        "next": entry.next,
        "deviations": list(entry.deviations),
        "recorded": list(entry.recorded),
        "confidence": entry.confidence,
        "budget": shown.budget if shown else None,
        "readings": shown.readings if shown else {},
        "settings": shown.settings if shown else {},
        "attempts": entry.attempts,
        "trainings": entry.trainings,
        "contradictions": list(entry.daggers),
    }


def attempt_fields(tried: Tried) -> dict[str, Any]:
    """One way in which a row was tried, with what came out."""
    metrics = dict.fromkeys(name for record in tried.records for name in record.figures)
    return {
        "budget": tried.budget,
        "readings": tried.readings,
        "settings": tried.settings,
        "asked": tried.asked,
        "seeds": list(tried.seeds),
        "trainings": sorted(tried.trainings),
        "figures": {name: [record.figures.get(name) for record in tried.records] for name in metrics},
    }


def class_rows(report: TableReport, *, dataset: str | None = None) -> Iterator[dict[str, Any]]:
    """IoU of every class of every row: published where printed, measured where measured, in percent."""
    for row in report.rows:
        if dataset not in (None, row.dataset):
            continue
        printed = {
            entry.figure.class_name: entry.figure
            for entry in report.entries
            if entry.figure.class_name and (entry.figure.row, entry.figure.dataset) == (row.row, row.dataset)
        }
        by_key = {class_key(name): figure for name, figure in printed.items() if name}
        measured = {class_key(name): value for name, value in row.per_class.items()}
        for key in dict.fromkeys([*measured, *by_key]):
            figure, value = by_key.get(key), measured.get(key)
            both = figure is not None and value is not None
            yield {
                "table": report.table,
                "row": row.row,
                "title": row.title,
                "dataset": row.dataset,
                "class": key,
                "printed": figure.printed if figure else None,
                "published": figure.value if figure else None,
                "measured": value,
                "difference": value - figure.value if both else None,  # type: ignore[operator, union-attr]
            }
