"""A report as flat rows: the common ground of CSV, JSON and data frames."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .variants import class_key
from .verdicts import FigureVerdict, RowVariant, TableReport

ENTRY_FIELDS = (
    "table", "row", "dataset", "split", "metric", "class", "printed", "value", "baseline", "runs", "best_of", "note",
    "read_as", "verdict", "provisional", "measured", "difference", "error", "df", "half_width", "half_width_90",
    "margin", "tolerance", "n_seeds", "seeds", "values", "deviation", "spread", "spread_df", "spread_groups",
    "spread_source", "spread_note", "p", "p_holm", "seed_correlation", "seeds_needed", "planned", "looks", "reason",
    "next", "deviations", "recorded", "confidence", "budget", "readings", "settings", "attempts", "trainings",
    "contradictions", "rescored", "rescored_verdict",
)  # fmt: skip


def entry_fields(entry: FigureVerdict) -> dict[str, Any]:
    """Return one figure with its verdict as plain data; lists stay lists."""
    figure, shown, spread = entry.figure, entry.shown, entry.spread
    return {
        **figure.as_json(),
        "best_of": figure.best_of,
        "read_as": figure.read_as,
        "verdict": entry.verdict,
        "provisional": entry.provisional,
        "measured": entry.measured,
        "difference": entry.difference,
        "error": entry.error,
        "df": entry.df,
        "half_width": entry.half_width,
        "half_width_90": entry.narrow,
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
        "spread_note": spread.note if spread else None,
        "p": entry.p,
        "p_holm": entry.p_holm,
        "seed_correlation": entry.correlation,
        "seeds_needed": entry.seeds_needed,
        "planned": entry.planned,
        "looks": entry.looks,
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
        "contradictions": list(entry.contradictions),
        "rescored": entry.rescored[0].value if entry.rescored else None,
        "rescored_verdict": entry.rescored[0].word if entry.rescored else None,
    }


def attempt_fields(variant: RowVariant) -> dict[str, Any]:
    """Return one variant of a row with its figures by seed, as plain data."""
    metrics = dict.fromkeys(name for record in variant.records for name in record.figures)
    return {
        "budget": variant.budget,
        "readings": variant.readings,
        "settings": variant.settings,
        "asked": variant.requested,
        "seeds": list(variant.seeds),
        "trainings": sorted(variant.trainings),
        "figures": {name: [record.figures.get(name) for record in variant.records] for name in metrics},
    }


def class_rows(report: TableReport, *, dataset: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the IoU of every class of every row that printed or measured it, in percent."""
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


def plain(value: Any) -> Any:
    """Return JSON data: tuples become lists, keys strings, and numbers that are not finite None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
