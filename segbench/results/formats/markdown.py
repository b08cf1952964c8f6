"""Headings and tables, for repositories and notebooks."""

import re
from collections.abc import Sequence

from segbench.results.render.blocks import (
    Block,
    Code,
    Document,
    Listing,
    Next,
    Paragraph,
    Section,
    Span,
    Summary,
    Table,
)
from segbench.results.render.options import RenderOptions
from segbench.results.render.outline import outline
from segbench.results.verdicts import TableReport

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def render(reports: Sequence[TableReport], options: RenderOptions) -> str:
    """Return the reports as Markdown; each ends with its summary."""
    return "\n".join(_text(outline(report, per_class=options.per_class)) for report in reports)


def escape(text: str) -> str:
    """Escape text so that Markdown shows it unchanged, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _text(document: Document) -> str:
    head = [f"# {escape(document.title)}", escape(document.source)]
    return "\n\n".join([*head, *(text for block in document.blocks for text in _texts(block))]) + "\n"


def _texts(block: Block) -> list[str]:
    match block:
        case Section(title, blocks):
            return [f"## {escape(title)}", *(text for each in blocks for text in _texts(each))]
        case Paragraph(spans):
            return ["".join(map(_span, spans))]
        case Listing(items):
            return ["\n".join(f"- {escape(item.text)}" for item in items)]
        case Table():
            return [_table(block)]
        case Next(command):
            return [f"Next: `{command}`"]
        case Summary(text):
            return [f"**{escape(text)}**"]


def _span(span: Span) -> str:
    if isinstance(span, Code):
        return f"`{span.text}`"
    return _SPECIAL.sub(r"\\\1", re.sub(r"\s+", " ", span))


def _table(table: Table) -> str:
    marks = ["---:" if column.kind == "number" else "---" for column in table.columns]
    header = [escape(column.title) for column in table.columns]
    rows = [[escape(cell.text) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, marks, *rows))
