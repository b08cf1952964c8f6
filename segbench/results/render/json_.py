"""Reports as JSON: one schema-versioned object, always valid."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from segbench.results.flat import attempt_fields, entry_fields
from segbench.results.gains import gains
from segbench.results.verdicts import TableReport

from . import words

SCHEMA = 1


def json_text(reports: Sequence[TableReport]) -> str:
    """``{"schema": 1, "reports": [...]}``; what is not a finite number is null."""
    data = {"schema": SCHEMA, "reports": [report_data(report) for report in reports]}
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def report_data(report: TableReport) -> dict[str, Any]:
    """One report as plain JSON data."""
    data = {
        "table": report.table,
        "title": report.title,
        "source": report.source,
        "version": report.version,
        "figures": [entry_fields(entry) for entry in report.entries],
        "rows": [
            {
                "row": row.row,
                "title": row.title,
                "dataset": row.dataset,
                "readings": [
                    {"name": use.name, "option": use.option, "default": use.is_default, "confidence": use.confidence}
                    for use in row.readings
                ],
                "attempts": [attempt_fields(tried) for tried in row.attempts],
                "lost_attempts": row.lost,
                "per_class": row.per_class,
            }
            for row in report.rows
        ],
        "gains": [
            {**asdict(gain), "section": list(section), "same_sign": gain.same_sign}
            for section in report.sections()
            for gain in gains(report, section)
        ],
        "contradictions": report.contradictions,
        "attempts": words.attempts(report),
        "counts": Counter(entry.verdict for entry in report.entries if entry.figure.headline),
        "next": words.next_command(report),
        "summary": words.summary(report.entries),
    }
    result: dict[str, Any] = clean(data)
    return result


def clean(value: Any) -> Any:
    """Plain JSON data: tuples as lists, keys as strings, numbers that are not finite as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
