"""All recipe files, found and checked: every fault of every file at once, with its line."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from segbench.core import strict_yaml
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import choices, close_names
from segbench.core.typed_yaml import parse

from .crosscheck import cross_check, cross_check_paper
from .figures import Figure
from .schema import Budget, BudgetsFile, FigureEntry, Reading, ReadingsFile, RowEntry, TableFile

_UNWRITTEN = ("metrics",)  # the schema puts this level into locations


@dataclass
class Table:
    """A loaded table with what is needed to say where each of its values stands."""

    paper: str
    file: TableFile
    document: strict_yaml.Document

    @property
    def name(self) -> str:
        return self.file.table

    def row(self, name: str) -> RowEntry:
        """The row.

        Raises:
            UsageFault: no such row; close names are suggested.
        """
        if name not in self.file.rows:
            hint = choices(name, list(self.file.rows), word="Rows")
            raise UsageFault(f"No row {name!r} in {self.name}. {hint}.", next=f"segbench list {self.name}")
        return self.file.rows[name]

    def over(self, row: str) -> str | None:
        """The row that a row improves on: as it says itself, or as its gain is printed."""
        entry = self.row(row)
        printed = (figure.over for group in entry.figures.values() for figure in group.metrics.values())
        return entry.over or next((name for name in printed if name), None)

    def datasets(self, row: str) -> tuple[str, ...]:
        """Data sets of a row, in the order printed; a row of mere settings has the one it names."""
        entry = self.row(row)
        named = dict.fromkeys(key.split(".")[0] for key in entry.figures)
        if named:
            return tuple(named)
        for tree in (entry.data, self.file.data):
            if "name" in tree:
                return (tree["name"],)
        return tuple(self.file.base)

    def figures(self, row: str | None = None) -> list[Figure]:
        """The printed figures of one row or of all, in the order of the file."""
        found = []
        for name in [row] if row is not None else self.file.rows:
            for key, group in self.row(name).figures.items():
                dataset, split = key.split(".")
                entries: list[tuple[str, str | None, FigureEntry]] = []
                entries += [(metric, None, entry) for metric, entry in group.metrics.items()]
                entries += [("iou", class_name, entry) for class_name, entry in group.iou.items()]
                found += [
                    Figure(
                        self.name, name, dataset, split, metric, entry.printed, class_name, entry.read_as,
                        entry.over, entry.runs or group.runs, entry.note or group.note,
                        entry.tolerance.points if entry.tolerance else 0.0,
                        entry.tolerance.source if entry.tolerance else "",
                    )
                    for metric, class_name, entry in entries
                ]  # fmt: skip
        return found


@dataclass
class Paper:
    name: str
    file: ReadingsFile
    document: strict_yaml.Document


@dataclass
class Catalog:
    """Every table of every paper."""

    root: Path
    tables: dict[str, Table] = field(default_factory=dict)
    papers: dict[str, Paper] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)
    budget_document: strict_yaml.Document | None = None

    def table(self, name: str) -> Table:
        """The table.

        Raises:
            UsageFault: no such table; close names are suggested.
        """
        if name not in self.tables:
            close = close_names(name, list(self.tables))
            hint = f" Close: {', '.join(close)}." if close else ""
            raise UsageFault(f"No table {name!r}.{hint}", next="segbench list")
        return self.tables[name]

    def budget(self, name: str) -> Budget | None:
        """The budget; None for ``full``, which scales nothing.

        Raises:
            UsageFault: no such budget.
        """
        if name == "full":
            return None
        if name not in self.budgets:
            known = ", ".join(["full", *self.budgets])
            raise UsageFault(f"No budget {name!r}. Known: {known}.", next="the same command with --budget small")
        return self.budgets[name]

    def readings_of(self, table: Table) -> dict[str, tuple[Reading, strict_yaml.Document]]:
        """The readings that rows of ``table`` may rest on: the paper's, then the table's own."""
        found: dict[str, tuple[Reading, strict_yaml.Document]] = {}
        if table.paper in self.papers:
            paper = self.papers[table.paper]
            found |= {name: (reading, paper.document) for name, reading in paper.file.readings.items()}
        return found | {name: (reading, table.document) for name, reading in table.file.readings.items()}


def recipes_root() -> Path:
    """The folder of recipes: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


@cache
def default_catalog() -> Catalog:
    """The catalog of the recipes that come with segbench."""
    return load_catalog(recipes_root())


def load_catalog(root: Path) -> Catalog:
    """Load and check every file below ``root``.

    Raises:
        InvalidFault: all faults of all files, a line each.
    """
    catalog, faults = Catalog(root), []
    for path in sorted(root.glob("*/*.yaml")):
        faults += [f"{path.parent.name}/{fault}" for fault in _add(catalog, path)]
    if (root / "budgets.yaml").exists():
        document = strict_yaml.load(root / "budgets.yaml")
        parsed, found = parse(document, BudgetsFile, what="a recipe", hidden=_UNWRITTEN)
        faults += found
        if parsed is not None:
            catalog.budgets, catalog.budget_document = parsed.budgets, document
    whole = not faults
    for table in catalog.tables.values():
        faults += [f"{table.paper}/{fault}" for fault in cross_check(catalog, table, whole=whole)]
    for paper in catalog.papers.values() if whole else ():
        faults += [f"{paper.name}/{fault}" for fault in cross_check_paper(catalog, paper)]
    if faults:
        raise InvalidFault(*faults, next="mend the lines above")
    return catalog


def add_file(catalog: Catalog, path: Path) -> Table:
    """Add the user's own recipe file to ``catalog`` and return its table; a file with faults is not added.

    Raises:
        InvalidFault: all faults of the file, a line each.
    """
    before = set(catalog.tables)
    faults = _add(catalog, path, paper="own")
    added = [catalog.tables[name] for name in catalog.tables if name not in before]
    for table in added:
        faults += cross_check(catalog, table)
    if faults:
        for table in added:
            del catalog.tables[table.name]
        raise InvalidFault(*faults, next=f"segbench show --recipe {path}")
    return added[0]


def _add(catalog: Catalog, path: Path, paper: str | None = None) -> list[str]:
    document = strict_yaml.load(path)
    folder = paper or path.parent.name
    if path.name == "readings.yaml" and paper is None:
        parsed, faults = parse(document, ReadingsFile, what="a recipe", hidden=_UNWRITTEN)
        if parsed is not None:
            catalog.papers[folder] = Paper(folder, parsed, document)
        return faults
    table, faults = parse(document, TableFile, what="a recipe", hidden=_UNWRITTEN)
    if table is None:
        return faults
    if table.table in catalog.tables:
        return [f"{document.where(('table',))}: table {table.table!r} exists already"]
    catalog.tables[table.table] = Table(folder, table, document)
    return []
