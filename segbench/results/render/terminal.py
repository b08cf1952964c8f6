"""A report for a terminal. ``rich`` is imported when something is drawn, not before."""

import io
from collections.abc import Sequence
from typing import Any

from segbench.results.verdicts import Judged, TableReport

from . import words
from .classes import class_tables

STYLES = {
    "reproduced": "green", "higher": "red", "lower": "red", "faster": "cyan", "slower": "cyan", "undecided": "yellow",
    "not comparable": "magenta", "unavailable": "dim", "not run": "dim", "shown": "",
}  # fmt: skip
NARROW = 90


def terminal(report: TableReport, *, width: int = 100, color: bool = False, per_class: bool = False) -> str:
    """The report as text of at most ``width`` columns; its last line is the summary."""
    from rich.console import Console

    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    for item in renderables(report, width=width, per_class=per_class):
        console.print(item)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def renderables(report: TableReport, *, width: int = 100, per_class: bool = False) -> list[Any]:
    """What ``rich.console.Console.print`` takes, in order. Below 90 columns notes stand under their table."""
    from rich.text import Text

    items: list[Any] = []
    sections = report.sections()
    for section, entries in sections.items():
        if section[2] == "iou":
            continue
        basis = words.basis(entries)
        items += [Text(words.heading(report, section, entries), style="bold"), *([Text(basis)] if basis else [])]
        items.append(_table(report, entries, notes=width >= NARROW))
        if width < NARROW:
            lines = [f"  {words.label(report, entry)}: {note}" for entry in entries if (note := words.note(entry))]
            items += [Text(line, style="dim") for line in lines]
        lines = [
            *words.floor_lines(entries),
            *words.cost_lines(entries),
            *words.ratio_lines(report, entries),
            *words.length_lines(entries),
        ]
        lines += [*words.gain_lines(report, section), *words.deviation_lines(report, entries)]
        items += [Text(f"  {line}", style="dim") for line in lines]
        items += [Text(line) for line in (*words.dagger_lines(entries), *words.class_line(report, entries))]
        items += [Text(words.summary(entries))] if len(sections) > 1 else []
        items.append(Text(""))
    if per_class:
        items += _classes(report)
    items += [Text(line) for line in words.unprinted_lines(report)]
    items.append(Text(words.attempts(report)))
    items += [Text(f"  {line}", style="dim") for line in words.attempt_lines(report)]
    rests, command = words.rests_on(report), words.next_command(report)
    items += [Text(rests)] if rests else []
    items += [Text(f"Next: {command}")] if command else []
    return [*items, Text(words.summary(report.entries), style="bold")]


def _table(report: TableReport, entries: Sequence[Judged], *, notes: bool) -> Any:
    from rich.text import Text

    headers = ("row", "published", "measured", "diff", "verdict", *(("note",) if notes else ()))
    table = _grid(*headers, right=("published", "measured", "diff"))
    for entry in entries:
        table.add_row(
            Text(words.label(report, entry)),
            Text(words.published(entry)),
            Text(words.measured(entry)),
            Text(words.difference(entry)),
            Text(entry.word, style=STYLES[entry.verdict]),
            *([Text(words.note(entry), style="dim")] if notes else []),
        )
    return table


def _classes(report: TableReport) -> list[Any]:
    from rich.text import Text

    items: list[Any] = []
    for table in class_tables(report):
        grid = _grid(*table.headers, right=table.headers[table.left :])
        for cells in table.lines:
            grid.add_row(*(Text(cell) for cell in cells))
        items += [Text(table.title, style="bold"), grid, Text("")]
    return items


def _grid(*headers: str, right: tuple[str, ...]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for header in headers:
        number = header in right
        whole = number or header == "verdict"
        table.add_column(header, justify="right" if number else "left", no_wrap=whole, overflow="fold")
    return table
