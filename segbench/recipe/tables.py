"""Loaded recipes: tables, the papers they belong to, and the catalog of all of them."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import choices, close_names
from segbench.core.strict_yaml import Document

from .claims import ClaimsFile
from .figures import Figure
from .released import ReleasedFile, ReleasedWeights
from .schema import Budget, FigureEntry, MeasuredSpread, Network, Reading, ReadingsFile, RowEntry, TableFile

File = TypeVar("File")


@dataclass(frozen=True)
class Table:
    """A loaded table with the document that knows the line of each of its values.

    Attributes:
        paper: the paper whose readings and networks its rows may use.
        personal: True for a recipe of the user, False for one that comes with segbench.
    """

    paper: str
    file: TableFile
    document: Document
    personal: bool = False

    @property
    def name(self) -> str:
        return self.file.table

    def row(self, name: str) -> RowEntry:
        """Return the row.

        Raises:
            UsageFault: no such row; close names are suggested.
        """
        if name not in self.file.rows:
            hint = choices(name, list(self.file.rows), word="Rows")
            raise UsageFault(f"No row {name!r} in {self.name}. {hint}.", next=f"segbench list {self.name}")
        return self.file.rows[name]

    def over(self, row: str) -> str | None:
        """Return the row that a row improves on: as it says itself, or as its gain is printed."""
        entry = self.row(row)
        printed = (figure.over for group in entry.figures.values() for figure in group.metrics.values())
        return entry.over or next((name for name in printed if name), None)

    def datasets(self, row: str) -> tuple[str, ...]:
        """Return the data sets of a row in printed order; a row of mere settings has the one it or its base names."""
        entry = self.row(row)
        named = dict.fromkeys(key.split(".")[0] for key in entry.figures)
        if named:
            return tuple(named)
        for tree in (entry.data, self.file.data):
            if "name" in tree:
                return (tree["name"],)
        if isinstance(entry.base, str):
            table, _, base = entry.base.partition("/")
            if table == self.name and base in self.file.rows and base != row:
                return self.datasets(base)
        return tuple(self.file.base)

    def figures(self, row: str | None = None) -> list[Figure]:
        """Return the printed figures of one row or of all, in the order of the file."""
        if row is not None:
            self.row(row)
            return list(self._figures[row])
        return [figure for figures in self._figures.values() for figure in figures]

    @cached_property
    def _figures(self) -> dict[str, tuple[Figure, ...]]:
        return {name: tuple(self._figures_of(name, row)) for name, row in self.file.rows.items()}

    def _figures_of(self, name: str, row: RowEntry) -> list[Figure]:
        found = []
        for key, group in row.figures.items():
            dataset, split = key.split(".")
            entries: list[tuple[str, str | None, FigureEntry]] = []
            entries += [(metric, None, entry) for metric, entry in group.metrics.items()]
            entries += [("iou", class_name, entry) for class_name, entry in group.iou.items()]
            found += [
                Figure(
                    self.name, name, dataset, split, metric, entry.printed, class_name, entry.read_as,
                    entry.over, entry.runs or group.runs, entry.best_of or group.best_of, entry.note or group.note,
                    entry.tolerance.points if entry.tolerance else 0.0,
                    entry.tolerance.source if entry.tolerance else "",
                    entry.average,
                )
                for metric, class_name, entry in entries
            ]  # fmt: skip
        return found


@dataclass(frozen=True)
class Paper:
    """The readings and networks that the tables of a paper share."""

    name: str
    file: ReadingsFile
    document: Document


@dataclass(frozen=True)
class Beside(Generic[File]):
    """A file of a paper beside its tables, with the document that knows the line of each of its values."""

    file: File
    document: Document


@dataclass(frozen=True)
class BrokenFile:
    """A personal recipe file that cannot be used.

    Attributes:
        path: the file.
        faults: all of its faults, each ``path:line: sentence``.
        table: name of its table, if it can be read.
    """

    path: Path
    faults: tuple[str, ...]
    table: str | None = None

    def __str__(self) -> str:
        """One line for users, with the command that shows all faults."""
        fault = self.faults[0].removesuffix(".") if len(self.faults) == 1 else f"{self.path}: {len(self.faults)} faults"
        return f"Ignored {fault}. Next: segbench list --recipe {self.path}"


@dataclass
class Catalog:
    """Every table of every paper.

    Attributes:
        root: folder of the recipes that come with segbench.
        broken: personal files with faults, which are left out.
        spreads: spreads over seeds that were measured, for rows without one.
        claims, released: claims of a paper, and the weights of its authors, by its name.
        resolved: cache of ``resolve``; changing the tables through ``add`` and ``remove`` empties it.
    """

    root: Path
    tables: dict[str, Table] = field(default_factory=dict)
    papers: dict[str, Paper] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)
    spreads: list[MeasuredSpread] = field(default_factory=list)
    claims: dict[str, Beside[ClaimsFile]] = field(default_factory=dict)
    released: dict[str, Beside[ReleasedFile]] = field(default_factory=dict)
    budget_document: Document | None = None
    broken: list[BrokenFile] = field(default_factory=list)
    resolved: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def add(self, table: Table) -> None:
        """Add a table."""
        self.tables[table.name] = table
        self.resolved.clear()

    def remove(self, name: str) -> None:
        """Remove a table."""
        del self.tables[name]
        self.resolved.clear()

    def table(self, name: str) -> Table:
        """Return the table.

        Raises:
            UsageFault: no such table; close names are suggested.
            InvalidFault: the personal file with this table has faults.
        """
        if name not in self.tables:
            broken = self.broken_table(name)
            if broken is not None:
                raise InvalidFault(*broken.faults, next=f"fix these lines, then: segbench list --recipe {broken.path}")
            close = close_names(name, list(self.tables))
            hint = f" Close: {', '.join(close)}." if close else ""
            raise UsageFault(f"No table {name!r}.{hint}", next="segbench list")
        return self.tables[name]

    def broken_table(self, name: str) -> BrokenFile | None:
        """Return the personal file with faults whose table has this name."""
        return next((broken for broken in self.broken if broken.table == name), None)

    def budget(self, name: str) -> Budget | None:
        """Return the budget; None for ``full``, which scales nothing.

        Raises:
            UsageFault: no such budget.
        """
        if name == "full":
            return None
        if name not in self.budgets:
            known = ", ".join(["full", *self.budgets])
            raise UsageFault(f"No budget {name!r}. Known: {known}.", next="the same command with --budget small")
        return self.budgets[name]

    def readings_of(self, table: Table) -> dict[str, tuple[Reading, Document]]:
        """Return the readings that rows of ``table`` may rest on: the paper's, then the table's own."""
        found: dict[str, tuple[Reading, Document]] = {}
        if table.paper in self.papers:
            paper = self.papers[table.paper]
            found |= {name: (reading, paper.document) for name, reading in paper.file.readings.items()}
        return found | {name: (reading, table.document) for name, reading in table.file.readings.items()}

    def networks_of(self, table: Table) -> dict[str, tuple[Network, Document]]:
        """Return the networks that rows of ``table`` may name: the paper's, then the table's own."""
        found: dict[str, tuple[Network, Document]] = {}
        if table.paper in self.papers:
            paper = self.papers[table.paper]
            found |= {name: (network, paper.document) for name, network in paper.file.networks.items()}
        return found | {name: (network, table.document) for name, network in table.file.networks.items()}

    def released_for(self, table: str, row: str, dataset: str) -> ReleasedWeights | None:
        """Return the registered weights that stand for a row; None if none do."""
        beside = self.released.get(self.table(table).paper)
        return beside.file.of_row(table, row, dataset) if beside is not None else None

    def stands_for(self, checkpoint: str) -> list[ReleasedWeights]:
        """Return the rows that a registered checkpoint stands for."""
        every = (each for beside in self.released.values() for each in beside.file.weights)
        return [each for each in every if each.checkpoint == checkpoint]
