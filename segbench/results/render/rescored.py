"""Released weights beside a section's figures: do they give the printed digits?"""

from segbench.results.verdicts import Rescored, SectionKey, TableReport

from .blocks import Block, Cell, Column, Table, paragraph
from .cells import number

COLUMNS = (
    Column("weights"),
    Column("published", "number"),
    Column("re-scored", "number"),
    Column("diff", "number"),
    Column("do they give it?", "verdict"),
    Column("note", "note"),
)
_BY = {"authors": "the authors'", "same print": "another project's", "a file": "a user's file"}


def blocks(report: TableReport, section: SectionKey) -> tuple[Block, ...]:
    """Return the table of a section's released weights with the sentence above it; empty if none were scored."""
    found = [each for entry in report.sections().get(section, ()) for each in entry.rescored]
    if not found:
        return ()
    head = paragraph("Do released weights give it? Scored by the published protocol; no seeds are involved.")
    return head, Table(COLUMNS, tuple(_row(each) for each in found))


def _row(each: Rescored) -> tuple[Cell, ...]:
    places = max(2, each.figure.decimals)
    note = "; ".join(part for part in (_BY[each.by], each.reason) if part)
    return (
        Cell(f"{each.title}: {each.weights}"),
        Cell(each.figure.printed),
        Cell(number(each.value, places)),
        Cell(number(each.difference, places, sign=True)),
        Cell(each.word, each.word),
        Cell(note),
    )
