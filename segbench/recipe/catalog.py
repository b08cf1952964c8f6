"""All recipe files, found and checked: every fault of every file at once, with its line."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import close_names

from . import strict_yaml
from .figures import Figure
from .schema import Budget, BudgetsFile, FigureEntry, Reading, ReadingsFile, RowEntry, TableFile

Model = TypeVar("Model", bound=BaseModel)


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
            close = close_names(name, list(self.file.rows)) or list(self.file.rows)
            raise UsageFault(
                f"No row {name!r} in {self.name}. Rows: {', '.join(close)}.",
                next=f"segbench show {self.name}",
            )
        return self.file.rows[name]

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
            raise UsageFault(f"No budget {name!r}. Known: {known}.", next="segbench reproduce --help")
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
        faults += _add(catalog, path)
    if (root / "budgets.yaml").exists():
        document = strict_yaml.load(root / "budgets.yaml")
        parsed, found = parse(document, BudgetsFile)
        faults += found
        if parsed is not None:
            catalog.budgets, catalog.budget_document = parsed.budgets, document
    faults += _cross_check(catalog)
    if faults:
        raise InvalidFault(*faults, next="mend the lines above")
    return catalog


def add_file(catalog: Catalog, path: Path) -> Table:
    """A copy of nothing: adds the user's own recipe file to ``catalog`` and returns its table.

    Raises:
        InvalidFault: all faults of the file, a line each.
    """
    before = set(catalog.tables)
    faults = _add(catalog, path, paper="own") or _cross_check(catalog)
    if faults:
        raise InvalidFault(*faults, next=f"segbench show --recipe {path}")
    return catalog.tables[next(iter(set(catalog.tables) - before))]


def parse(document: strict_yaml.Document, model: type[Model]) -> tuple[Model | None, list[str]]:
    """A document as a typed file, and its faults as ``file:line: sentence``."""
    if document.faults:
        return None, list(document.faults)
    if not isinstance(document.data, dict):
        return None, [f"{document.path.name}: a recipe is a map of keys"]
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        return None, [describe(item, document) for item in error.errors(include_url=False)]


def describe(item, document: strict_yaml.Document, prefix: tuple[str, ...] = ()) -> str:  # type: ignore[no-untyped-def]
    """One pydantic error as one line with file, line and location."""
    skipped = {"metrics"}
    location = tuple(str(part) for part in (*prefix, *item["loc"]) if part not in skipped)
    kind, given = item["type"], item.get("input")
    if kind == "extra_forbidden":
        text = f"unknown key {location[-1]!r}"
    elif kind == "missing":
        text = f"missing key {location[-1]!r}"
    elif kind == "value_error":
        text = str(item["ctx"]["error"])
    else:
        text = f"{item['msg'][0].lower()}{item['msg'][1:]}, got {given!r}"
    where = document.where(location)
    return f"{where}: {'.'.join(location)}: {text}" if location else f"{where}: {text}"


def _add(catalog: Catalog, path: Path, paper: str | None = None) -> list[str]:
    document = strict_yaml.load(path)
    folder = paper or path.parent.name
    if path.name == "readings.yaml" and paper is None:
        parsed, faults = parse(document, ReadingsFile)
        if parsed is not None:
            catalog.papers[folder] = Paper(folder, parsed, document)
        return faults
    table, faults = parse(document, TableFile)
    if table is None:
        return faults
    if table.table in catalog.tables:
        return [f"{document.where(('table',))}: table {table.table!r} exists already"]
    catalog.tables[table.table] = Table(folder, table, document)
    return []


def _cross_check(catalog: Catalog) -> list[str]:
    """References between rows, tables and readings."""
    faults = []
    for table in catalog.tables.values():
        document = table.document
        bases: list[tuple[strict_yaml.Location, str]] = []
        bases += [(("base", key), base) for key, base in table.file.base.items()]
        bases += [(("rows", name, "base"), row.base) for name, row in table.file.rows.items() if row.base]
        for location, base in bases:
            other, _, base_row = base.partition("/")
            if other not in catalog.tables or base_row not in catalog.tables[other].file.rows:
                faults.append(f"{document.where(location)}: {'.'.join(location)}: no row {base!r}")
        for name, row in table.file.rows.items():
            for key, group in row.figures.items():
                for metric, entry in group.metrics.items():
                    if entry.over is not None and entry.over not in table.file.rows:
                        where = document.where(("rows", name, "figures", key, metric))
                        faults.append(f"{where}: {metric} is over {entry.over!r}, which is no row of the table")
    return faults
