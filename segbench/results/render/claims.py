"""The claims of a publication about a table, each with its verdict."""

from collections import Counter
from collections.abc import Sequence

from segbench.results.verdicts import ClaimVerdict

from .blocks import Cell, Column, Section, Table

COLUMNS = (Column("claim"), Column("where"), Column("does it hold?", "verdict"), Column("note", "note"))


def section(title: str, claims: Sequence[ClaimVerdict]) -> Section:
    """Return the section of some claims."""
    return Section(title, (Table(COLUMNS, tuple(_row(each) for each in claims)),))


def counted(claims: Sequence[ClaimVerdict]) -> str:
    """Count the verdicts: ``of 5 claims 2 hold, 1 is contradicted by its own table, 2 not run``."""
    counts = Counter(each.word for each in claims)
    words = [f"{counts[word]} {word}" for word in ("holds", "fails", "unclear") if counts[word]]
    words += [f"{counts[word]} {word}" for word in ("contradicted by its own table", "not run") if counts[word]]
    return f"{len(claims)} claim{'' if len(claims) == 1 else 's'}: {', '.join(words)}"


def _row(each: ClaimVerdict) -> tuple[Cell, ...]:
    note = "; ".join(filter(None, (each.reason, each.claim.note)))
    return (Cell(each.claim.sentence), Cell(each.claim.where), Cell(each.word, each.word), Cell(note))
