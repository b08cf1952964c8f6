"""Text with aligned tables, for reading."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segbench.results.render.blocks import (
    Block,
    Code,
    Document,
    Listing,
    Next,
    Paragraph,
    Section,
    Summary,
    Table,
)
from segbench.results.render.options import RenderOptions
from segbench.results.render.outline import outline
from segbench.results.verdicts import TableReport, Word

if TYPE_CHECKING:  # rich is imported when something is drawn, not before
    from rich.console import RenderableType

STYLES: dict[Word, str] = {
    "reproduced": "green", "higher": "red", "lower": "red", "consistent": "yellow", "differs": "red",
    "faster": "cyan", "slower": "cyan", "undecided": "yellow",
    "not comparable": "magenta", "unavailable": "dim", "not run": "dim", "shown": "",
    "gain holds": "green", "gain reversed": "red", "no such gain": "red", "gain unclear": "yellow",
    "agrees": "green", "agrees otherwise": "yellow", "does not agree": "red",
    "holds": "green", "fails": "red", "unclear": "yellow", "contradicted by its own table": "magenta",
}  # fmt: skip
NARROW = 90  # below this many columns notes stand under their table


def render(reports: Sequence[TableReport], options: RenderOptions) -> str:
    """Return the reports as text of at most ``options.width`` columns; each ends with its summary."""
    return "\n".join(
        render_document(
            outline(report, per_class=options.per_class, brief=options.brief), width=options.width, color=options.color
        )
        for report in reports
    )


def render_document(document: Document, *, width: int, color: bool = False) -> str:
    """Return one document as text of at most ``width`` columns."""
    from rich.console import Console
    from rich.text import Text

    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        legacy_windows=False,
    )
    console.print(Text(document.title, style="bold"))
    if document.source:
        console.print(Text(document.source, style="dim"))
    console.print()
    for block in document.blocks:
        for item in _renderables(block, notes=width >= NARROW):
            console.print(item)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _renderables(block: Block, *, notes: bool) -> "list[RenderableType]":
    """Return what ``rich`` prints for a block; ``notes`` leaves notes in their table."""
    from rich.text import Text

    match block:
        case Section(title, blocks):
            inner = [item for each in blocks for item in _renderables(each, notes=notes)]
            return [Text(title, style="bold"), *inner, Text("")]
        case Paragraph(spans):
            return [Text("".join(f"`{span.text}`" if isinstance(span, Code) else span for span in spans))]
        case Listing(items):
            return [Text(f"  {item.text}", style="dim") if item.detail else Text(item.text) for item in items]
        case Table():
            return _table(block, notes=notes)
        case Next(command):
            return [Text(f"Next: {command}")]
        case Summary(text):
            return [Text(text, style="bold")]


def _table(table: Table, *, notes: bool) -> "list[RenderableType]":
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    shown = [place for place, column in enumerate(table.columns) if notes or column.kind != "note"]
    for column in (table.columns[place] for place in shown):
        right = column.kind == "number"
        whole = column.kind in ("number", "verdict")
        grid.add_column(column.title, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    for row in table.rows:
        styles = ["dim" if column.kind == "note" else "" for column in table.columns]
        texts = [
            Text(cell.text, style=STYLES[cell.verdict] if cell.verdict else style)
            for cell, style in zip(row, styles, strict=True)
        ]
        grid.add_row(*(texts[place] for place in shown))
    below = [
        Text(f"  {row[0].text}: {row[place].text}", style="dim")
        for row in table.rows
        for place in range(len(table.columns))
        if place not in shown and row[place].text
    ]
    return [grid, *below]
