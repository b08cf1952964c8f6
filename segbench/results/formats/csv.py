"""A line per printed figure, for spreadsheets."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from segbench.results.flat import ENTRY_FIELDS, entry_fields, plain
from segbench.results.render.options import RenderOptions
from segbench.results.verdicts import FigureVerdict, TableReport


def render(reports: Sequence[TableReport], options: RenderOptions) -> str:
    """Return one header, then every figure of every report; lists are joined by ``; ``, maps are JSON."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(ENTRY_FIELDS), lineterminator="\n")
    writer.writeheader()
    for report in reports:
        writer.writerows(_row(entry) for entry in report.entries)
    return file.getvalue()


def _row(entry: FigureVerdict) -> dict[str, Any]:
    return {name: _cell(value) for name, value in plain(entry_fields(entry)).items()}


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return "; ".join(str(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    if isinstance(value, bool):
        return str(value).lower()
    return value
