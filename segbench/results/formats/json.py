"""Everything that a report holds, for programs."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from segbench.results.flat import attempt_fields, entry_fields, plain
from segbench.results.render import cells, closing, gains
from segbench.results.render.options import RenderOptions
from segbench.results.verdicts import TableReport

SCHEMA = 1


def render(reports: Sequence[TableReport], options: RenderOptions) -> str:
    """Return ``{"schema": 1, "reports": [...]}``, always valid JSON; numbers that are not finite are null."""
    data = {"schema": SCHEMA, "reports": [report_data(report) for report in reports]}
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def report_data(report: TableReport) -> dict[str, Any]:
    """Return one report as plain JSON data."""
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
                "attempts": [attempt_fields(variant) for variant in row.attempts],
                "lost_attempts": row.lost,
                "per_class": row.per_class,
            }
            for row in report.rows
        ],
        "gains": [asdict(gain) for gain in report.gains],
        "rescored": [
            {**asdict(each), "figure": each.figure.as_json()} for entry in report.entries for each in entry.rescored
        ],
        "released": report.released or None,
        "claims": [{**each.claim.canonical(), "verdict": each.word, "reason": each.reason} for each in report.claims],
        "contradictions": report.contradictions,
        "attempts": closing.attempts(report),
        "counts": Counter(entry.verdict for entry in report.entries if entry.figure.headline),
        "next": closing.next_command(report),
        "summary": cells.summary(report.entries, gains.counted(report.gains)),
    }
    result: dict[str, Any] = plain(data)
    return result
