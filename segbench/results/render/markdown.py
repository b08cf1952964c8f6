"""A report as Markdown."""

import re
from collections.abc import Sequence

from segbench.results.verdicts import Judged, TableReport

from . import words
from .classes import class_tables

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def escape(text: str) -> str:
    """Text that Markdown prints as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown(report: TableReport, *, per_class: bool = False) -> str:
    """The report; its last line is the summary."""
    blocks = [f"# {escape(report.table)}: {escape(report.title)}", escape(report.source)]
    sections = report.sections()
    for section, entries in sections.items():
        if section[2] == "iou":
            continue
        blocks.append(f"## {escape(words.heading(report, section, entries))}")
        basis = words.basis(entries)
        blocks += [escape(basis)] if basis else []
        blocks.append(_table(report, entries))
        below = [
            *words.floor_lines(entries),
            *words.cost_lines(entries),
            *words.ratio_lines(report, entries),
            *words.length_lines(entries),
            *words.gain_lines(report, section),
            *words.deviation_lines(report, entries),
            *words.dagger_lines(entries),
            *words.class_line(report, entries),
        ]
        blocks += ["\n".join(f"- {escape(line)}" for line in below)] if below else []
        blocks += [escape(words.summary(entries))] if len(sections) > 1 else []
    if per_class:
        blocks += _classes(report)
    blocks += [f"Contradiction in the publication: {escape(text)}" for text in _unmarked(report)]
    measured = words.unprinted_lines(report)
    blocks += ["\n".join(f"- {escape(line)}" for line in measured)] if measured else []
    others = words.attempt_lines(report)
    blocks.append(escape(words.attempts(report)))
    blocks += ["\n".join(f"- {escape(line)}" for line in others)] if others else []
    rests = words.rests_on(report)
    blocks += [rests] if rests else []
    command = words.next_command(report)
    blocks += [f"Next: `{command}`"] if command else []
    blocks.append(f"**{escape(words.summary(report.entries))}**")
    return "\n\n".join(blocks) + "\n"


def _table(report: TableReport, entries: Sequence[Judged]) -> str:
    lines = ["| row | published | measured | diff | verdict | note |", "| --- | ---: | ---: | ---: | --- | --- |"]
    for entry in entries:
        cells = (
            words.label(report, entry), words.published(entry), words.measured(entry), words.difference(entry),
            entry.word, words.note(entry),
        )  # fmt: skip
        lines.append(f"| {' | '.join(escape(cell) for cell in cells)} |")
    return "\n".join(lines)


def _classes(report: TableReport) -> list[str]:
    blocks = []
    for table in class_tables(report):
        marks = [" --- " if place < table.left else " ---: " for place in range(len(table.headers))]
        rows = [table.headers, *table.lines]
        lines = [f"| {' | '.join(escape(cell) for cell in cells)} |" for cells in rows]
        lines.insert(1, f"|{'|'.join(marks)}|")
        blocks += [f"## {escape(table.title)}", "\n".join(lines)]
    return blocks


def _unmarked(report: TableReport) -> list[str]:
    marked = {text for entry in report.entries for text in entry.daggers}
    return [text for text in report.contradictions if text not in marked]
