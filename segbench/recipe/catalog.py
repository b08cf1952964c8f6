"""Loading of recipe files: all of them, checked, every fault with its file and line."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from segbench.core import registry, strict_yaml
from segbench.core.errors import InvalidFault, SegbenchError
from segbench.core.typed_yaml import parse

from .claims import ClaimsFile
from .crosscheck import cross_check, cross_check_claims, cross_check_paper, cross_check_released
from .discover import CLAIMS, RELEASED, SHARED, personal_files, personal_folders
from .released import ReleasedFile
from .resolve import resolve
from .schema import BudgetsFile, ReadingsFile, SpreadFile, TableFile
from .tables import Beside, BrokenFile, Catalog, Paper, Table

__all__ = ["Catalog", "Paper", "Table", "add_file", "default_catalog", "load_catalog", "recipes_root", "user_catalog"]

OWN = "own"  # the paper of personal recipes that have no folder of their own
_UNWRITTEN = ("metrics",)  # a level of the schema that nobody writes


def recipes_root() -> Path:
    """Return the folder of the packaged recipes: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


@cache
def default_catalog() -> Catalog:
    """Return the catalog of the recipes that come with segbench."""
    return load_catalog(recipes_root())


def user_catalog(extra_folders: Sequence[Path] = ()) -> Catalog:
    """Load the recipes that come with segbench and the user's own; see ``personal_folders``.

    Personal files with faults are left out and listed in ``Catalog.broken``.

    Args:
        extra_folders: further folders of personal recipes, beside those of installed packages.
    """
    root = recipes_root()
    folders = (*extra_folders, *registry.installed_folders(registry.RECIPES_GROUP).values())
    return load_catalog(root, personal=personal_folders(folders, without=root))


def load_catalog(root: Path, *, personal: Sequence[Path] = ()) -> Catalog:
    """Load and check every file below ``root``, then the personal recipes.

    Args:
        root: folder with a folder a paper, ``budgets.yaml`` and ``spread.yaml``.
        personal: folders of personal recipes; a file with faults is left out and listed in ``Catalog.broken``.

    Raises:
        InvalidFault: all faults of all files below ``root``, a line each.
    """
    catalog, faults = Catalog(root), []
    for path in sorted(root.glob("*/*.yaml")):
        read = {SHARED: _add_shared, CLAIMS: _add_beside, RELEASED: _add_beside}.get(path.name, _add_table)
        faults += [f"{path.parent.name}/{fault}" for fault in read(catalog, path, path.parent.name)]
    if (root / "budgets.yaml").exists():
        document = strict_yaml.load(root / "budgets.yaml")
        parsed, found = parse(document, BudgetsFile, what="a recipe", hidden=_UNWRITTEN)
        faults += found
        if parsed is not None:
            catalog.budgets, catalog.budget_document = parsed.budgets, document
    if (root / "spread.yaml").exists():
        spreads, found = parse(strict_yaml.load(root / "spread.yaml"), SpreadFile, what="a recipe")
        faults += found
        catalog.spreads = spreads.spreads if spreads is not None else []
    complete = not faults
    for table in catalog.tables.values():
        faults += [f"{table.paper}/{fault}" for fault in cross_check(catalog, table, complete=complete)]
    for name in catalog.claims if complete else ():
        faults += [f"{name}/{fault}" for fault in cross_check_claims(catalog, name)]
    for name in catalog.released if complete else ():
        faults += [f"{name}/{fault}" for fault in cross_check_released(catalog, name)]
    for paper in catalog.papers.values() if complete else ():
        faults += [f"{paper.name}/{fault}" for fault in cross_check_paper(catalog, paper)]
    if faults:
        raise InvalidFault(*faults, next="fix the lines above")
    for folder in personal:
        _add_folder(catalog, folder)
    _drop_broken(catalog)
    return catalog


def add_file(catalog: Catalog, path: Path) -> Table:
    """Add the user's own recipe file to ``catalog`` and return its table; a file with faults is not added.

    A file that was found in a folder of personal recipes already is returned as it is.

    Raises:
        InvalidFault: all faults of the file, a line each.
    """
    for table in catalog.tables.values():
        if table.document.path.resolve() == path.resolve():
            return table
    for broken in catalog.broken:
        if broken.path.resolve() == path.resolve():
            raise InvalidFault(*broken.faults, next=f"segbench show --recipe {path}")
    before = set(catalog.tables)
    faults = _add_table(catalog, path, OWN, personal=True)
    added = [catalog.tables[name] for name in catalog.tables if name not in before]
    for table in added:
        faults += cross_check(catalog, table)
    if faults:
        for table in added:
            catalog.remove(table.name)
        raise InvalidFault(*faults, next=f"segbench show --recipe {path}")
    return added[0]


def _add_shared(catalog: Catalog, path: Path, paper: str) -> list[str]:
    """Add the shared file of a paper and return its faults."""
    document = strict_yaml.load(path)
    parsed, faults = parse(document, ReadingsFile, what="a recipe", hidden=_UNWRITTEN)
    if parsed is not None:
        catalog.papers[paper] = Paper(paper, parsed, document)
    return faults


def _add_beside(catalog: Catalog, path: Path, paper: str) -> list[str]:
    """Add the claims of a paper, or its released weights, and return their faults."""
    document = strict_yaml.load(path)
    if path.name == CLAIMS:
        claims, faults = parse(document, ClaimsFile, what="a file of claims")
        if claims is not None:
            catalog.claims[paper] = Beside(claims, document)
        return faults
    released, faults = parse(document, ReleasedFile, what="a file of released weights")
    if released is not None:
        catalog.released[paper] = Beside(released, document)
    return faults


def _add_table(catalog: Catalog, path: Path, paper: str, *, personal: bool = False) -> list[str]:
    """Add a table and return its faults."""
    document = strict_yaml.load(path)
    file, faults = parse(document, TableFile, what="a recipe", hidden=_UNWRITTEN)
    if file is None:
        return faults
    if file.table in catalog.tables:
        other = catalog.tables[file.table].document.path
        where = f" in {other}" if personal else ""
        return [f"{document.where(('table',))}: table {file.table!r} exists already{where}"]
    catalog.add(Table(paper, file, document, personal=personal))
    return []


def _add_folder(catalog: Catalog, folder: Path) -> None:
    """Add the personal recipes below a folder; every folder in it is a paper of its own."""
    if not folder.is_dir():
        catalog.broken.append(BrokenFile(folder, (f"{folder}: there is no such folder",)))
        return
    for place, shared, tables in personal_files(folder):
        paper = OWN if place == folder and shared is None else _paper_of(catalog, place.name)
        faults = _add_shared(catalog, shared, paper) if shared else []
        for path in (place / CLAIMS, place / RELEASED):
            if path.is_file() and (said := _add_beside(catalog, path, paper)):
                catalog.broken.append(BrokenFile(path, tuple(f"{place}/{fault}" for fault in said)))
        if shared and faults:
            catalog.broken.append(BrokenFile(shared, tuple(f"{place}/{fault}" for fault in faults)))
        for path in tables:
            if faults:
                found = [f"{path.name}: {shared} has faults"]
            elif _is_copy(catalog, path):
                continue
            else:
                found = _add_table(catalog, path, paper, personal=True)
            if found:
                catalog.broken.append(BrokenFile(path, tuple(f"{place}/{fault}" for fault in found), _name_in(path)))


def _paper_of(catalog: Catalog, name: str) -> str:
    """Return a name for a paper that no other has: personal tables never share readings with others by accident."""
    taken = {OWN, *catalog.papers, *(table.paper for table in catalog.tables.values())}
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    return unique


def _is_copy(catalog: Catalog, path: Path) -> bool:
    """Return True if a file is byte for byte one that was loaded already, as in a checkout beside an installation."""
    table = catalog.tables.get(_name_in(path) or "")
    return table is not None and table.document.path.read_bytes() == path.read_bytes()


def _name_in(path: Path) -> str | None:
    """Return the name of the table in a file, even if the file has faults; None if it cannot be found."""
    try:
        found = re.search(r"^table:[ \t]*[\"']?([^\s\"'#]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return None
    return found.group(1) if found else None


def _drop_broken(catalog: Catalog) -> None:
    """Remove personal tables with faults, and then those that build on them."""
    wrong = True
    while wrong:
        wrong = False
        for table in [table for table in catalog.tables.values() if table.personal]:
            faults = _faults_of(catalog, table)
            if faults:
                wrong = True
                catalog.remove(table.name)
                catalog.broken.append(BrokenFile(table.document.path, tuple(faults), table.name))


def _faults_of(catalog: Catalog, table: Table) -> list[str]:
    """Return the faults of a personal table: of its references, or else of the protocols of its rows."""
    paper = catalog.papers.get(table.paper)
    faults = cross_check(catalog, table) + (cross_check_paper(catalog, paper) if paper is not None else [])
    if faults:
        return [f"{table.document.path.parent}/{fault}" for fault in faults]
    for row in table.file.rows:
        for dataset in table.datasets(row):
            try:
                resolve(catalog, table.name, row, dataset)
            except SegbenchError as error:
                faults += error.faults
    return list(dict.fromkeys(faults))
