"""Reports as text: pure functions of what was compared."""

from collections.abc import Sequence

from segbench.core.errors import UsageFault
from segbench.results.verdicts import TableReport

from .csv_ import csv_text
from .json_ import json_text
from .markdown import markdown
from .terminal import terminal

FORMATS = ("terminal", "markdown", "csv", "json")


def render(
    reports: TableReport | Sequence[TableReport],
    form: str = "terminal",
    *,
    per_class: bool = False,
    width: int = 100,
    color: bool = False,
) -> str:
    """One or several reports in one format.

    Args:
        reports: what ``compare_table`` returned.
        form: one of ``FORMATS``.
        per_class: IoU by class as well (Markdown and terminal; the other formats always have it or never need it).
        width: columns of the terminal.
        color: whether the terminal shows colour.

    Raises:
        UsageFault: no such format.
    """
    every = [reports] if isinstance(reports, TableReport) else list(reports)
    if form == "csv":
        return csv_text(every)
    if form == "json":
        return json_text(every)
    if form == "markdown":
        return "\n".join(markdown(report, per_class=per_class) for report in every)
    if form == "terminal":
        return "\n".join(terminal(report, width=width, color=color, per_class=per_class) for report in every)
    raise UsageFault(f"No format {form!r}. Known: {', '.join(FORMATS)}.", next="segbench report --format markdown")
