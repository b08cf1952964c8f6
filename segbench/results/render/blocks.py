"""Blocks of a report: plain data that a format turns into text. Nothing here knows a format."""

from dataclasses import dataclass
from typing import Literal

from segbench.results.verdicts import Word


@dataclass(frozen=True)
class Code:
    """A word of the program itself, set apart from the text around it."""

    text: str


Span = str | Code


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text; its spans follow each other without blanks."""

    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Item:
    """One line of a listing; a ``detail`` may be shown less prominently."""

    text: str
    detail: bool = True


@dataclass(frozen=True)
class Listing:
    """An unordered list."""

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its header.
        kind: ``number`` columns align to the right, ``verdict`` columns are never broken over lines, and a ``note``
            may stand below its table where there is little room.
    """

    title: str
    kind: Literal["text", "number", "verdict", "note"] = "text"


@dataclass(frozen=True)
class Cell:
    """A cell of a table; ``verdict`` is that of its line, for colour."""

    text: str
    verdict: Word | None = None


@dataclass(frozen=True)
class Table:
    """A table; every row has a cell per column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Next:
    """The command to type next."""

    command: str


@dataclass(frozen=True)
class Summary:
    """The most important line."""

    text: str


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: "tuple[Block, ...]"


Block = Section | Paragraph | Listing | Table | Next | Summary


@dataclass(frozen=True)
class Document:
    """The outline of one report.

    Attributes:
        title: name and title of the table.
        source: where it was published.
        blocks: everything below, in the order shown.
    """

    title: str
    source: str
    blocks: tuple[Block, ...]


def paragraph(*spans: Span) -> Paragraph:
    """Return a paragraph of some spans."""
    return Paragraph(spans)


def listing(lines: list[str], *, detail: bool = True) -> tuple[Listing, ...]:
    """Return a listing of some lines, in a tuple that is empty without any."""
    return (Listing(tuple(Item(line, detail) for line in lines)),) if lines else ()
