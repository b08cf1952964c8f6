"""The gains of a section as a table: does each exist here, by our own rows alone?"""

from collections.abc import Sequence

from segbench.results.verdicts import Gain, SectionKey, TableReport

from .blocks import Block, Cell, Column, Table, paragraph
from .cells import many, number

COLUMNS = (
    Column("gain"),
    Column("published", "number"),
    Column("here", "number"),
    Column("95 % interval", "number"),
    Column("does it exist?", "verdict"),
    Column("note", "note"),
)
ANSWERS = ("gain holds", "gain reversed", "no such gain", "gain unclear")


def of_section(report: TableReport, section: SectionKey) -> list[Gain]:
    """Return the gains of a section."""
    return [gain for gain in report.gains if gain.section == section]


def blocks(report: TableReport, section: SectionKey) -> tuple[Block, ...]:
    """Return the table of a section's gains with the sentence above it; empty if no two rows were run alike."""
    found = of_section(report, section)
    if not found:
        return ()
    decimals = {entry.figure.row: entry.figure.decimals for entry in report.sections().get(section, ())}
    where = {str(row.shown) for row in report.rows if row.shown and row.row in {gain.row for gain in found}}
    shown = f" ({where.pop()})" if len(where) == 1 else ""
    unknown = " No spread over seeds yet: 3 seeds give one." if all(gain.half_width is None for gain in found) else ""
    head = paragraph(f"Does the gain exist here? By our own rows alone{shown}.{unknown}")
    return head, Table(COLUMNS, tuple(_row(gain, decimals.get(gain.row, 2)) for gain in found))


def counted(gains: Sequence[Gain]) -> str:
    """Count the answers: ``of 3 gains 1 holds here, 2 unclear``, ``here the gain holds``; empty without gains."""
    told = [gain for gain in gains if gain.counts]
    if not told:
        return ""
    if len(told) == 1:
        return {
            "gain holds": "here the gain holds",
            "gain reversed": "here the gain is reversed",
            "no such gain": "here there is no such gain",
        }.get(told[0].answer, "here the gain is unclear")
    words = {"gain holds": "holds here", "gain reversed": "reversed", "no such gain": "not there"}
    parts = []
    for answer in ANSWERS:
        number_of = sum(gain.answer == answer for gain in told)
        if number_of:
            word = words.get(answer, "unclear")
            parts.append(f"{number_of} {'hold here' if number_of > 1 and answer == 'gain holds' else word}")
    return f"of {many(len(told), 'gain')} {', '.join(parts)}"


def _row(gain: Gain, decimals: int) -> tuple[Cell, ...]:
    interval = "-"
    if gain.half_width is not None:
        low, high = gain.measured - gain.half_width, gain.measured + gain.half_width
        interval = f"{number(low, 2, sign=True)} to {number(high, 2, sign=True)}"
    return (
        Cell(f"{gain.name} over {gain.over_title}"),
        Cell(number(gain.printed, decimals, sign=True)),
        Cell(number(gain.measured, 2, sign=True)),
        Cell(interval),
        Cell(gain.word, gain.answer),
        Cell(_note(gain)),
    )


def _note(gain: Gain) -> str:
    parts = [many(gain.seeds, "seed")]
    if gain.half_width is not None and gain.answer == "gain unclear" and gain.printed:
        parts.append(
            f"{gain.seeds_needed:,} would show the print" if gain.seeds_needed else "1,000 would not show the print"
        )
    parts += [f"spread of {gain.source}"] if gain.source else []
    if gain.correlation is not None:
        used = ", used" if gain.paired else ""
        parts.append(f"seed correlation {gain.correlation:+.2f}{used}")
    if not gain.counts:
        parts.append("another reading, not counted")
    return "; ".join(parts)
