"""The outline of a report: the same headings, tables and sentences for every format that people read."""

from collections.abc import Iterator, Sequence

from segbench.results.verdicts import FigureVerdict, SectionKey, TableReport

from . import cells, claims, closing, gains, labelled, remarks, rescored, unprinted
from .blocks import Block, Cell, Column, Document, Item, Listing, Next, Section, Summary, Table, listing, paragraph
from .classes import class_sections

COLUMNS = (
    Column("row"),
    Column("published", "number"),
    Column("measured", "number"),
    Column("diff", "number"),
    Column("verdict", "verdict"),
    Column("note", "note"),
)


def outline(report: TableReport, *, per_class: bool = False, brief: bool = False) -> Document:
    """Return the outline of a report; its last block is the summary.

    Args:
        report: report of one table.
        per_class: add the IoU of every class.
        brief: deviations in a line a section.
    """
    blocks = tuple(_blocks(report, per_class=per_class, brief=brief))
    return Document(f"{report.table}: {report.title}", " ".join(report.source.split()), blocks)


def _blocks(report: TableReport, *, per_class: bool, brief: bool) -> Iterator[Block]:
    sections = report.sections()
    shown = {key: entries for key, entries in sections.items() if key[2] != "iou"}
    for key, entries in shown.items():
        yield _section(report, key, entries, counted=len(sections) > 1, brief=brief)
    yield from unprinted.sections(report)
    if report.claims:
        yield claims.section(f"{report.table} · claims of the publication", report.claims)
    for text in report.sentences:
        yield paragraph(f"Claimed, not judged: {' '.join(text.split())}")
    if per_class:
        yield from class_sections(report)
    marked = {text for entries in shown.values() for entry in entries for text in entry.contradictions}
    for text in report.contradictions:
        if text not in marked:
            yield paragraph(f"Contradiction in the publication: {' '.join(text.split())}")
    if report.released:
        yield paragraph(report.released)
    yield paragraph(closing.attempts(report))
    yield from listing(closing.other_variants(report))
    yield from listing(list(labelled.lines(report)), detail=False)
    rests = closing.rests_on(report)
    if rests:
        yield paragraph(*rests)
    command = closing.next_command(report)
    if command:
        yield Next(command)
    yield Summary(cells.summary(report.entries, gains.counted(report.gains)))


def _section(
    report: TableReport, key: SectionKey, entries: Sequence[FigureVerdict], *, counted: bool, brief: bool
) -> Section:
    basis = cells.basis(entries)
    details = [
        *remarks.floor(entries),
        *remarks.cost(entries),
        *remarks.ratio(report, entries),
        *remarks.length(entries),
        *(remarks.deviations_in_brief(entries) if brief else remarks.deviations(entries)),
    ]
    others = [*remarks.contradictions(entries), *remarks.classes(report, entries)]
    items = (*(Item(line) for line in details), *(Item(line, detail=False) for line in others))
    return Section(
        cells.heading(report, key, entries),
        (
            *([paragraph(basis)] if basis else []),
            Table(COLUMNS, tuple(_row(report, entry) for entry in entries)),
            *gains.blocks(report, key),
            *rescored.blocks(report, key),
            *([Listing(items)] if items else []),
            *([paragraph(cells.summary(entries, gains.counted(gains.of_section(report, key))))] if counted else []),
        ),
    )


def _row(report: TableReport, entry: FigureVerdict) -> tuple[Cell, ...]:
    return (
        Cell(cells.label(report, entry)),
        Cell(cells.published(entry)),
        Cell(cells.measured(entry)),
        Cell(cells.difference(entry)),
        Cell(entry.word, entry.verdict),
        Cell(cells.note(entry)),
    )
