"""Class tables: names, colours, and the class of each value in a label file. Free of torch."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import yaml
from pydantic import Field, model_validator

from segbench.core import registry
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import choices
from segbench.core.spec import Spec
from segbench.core.strict_yaml import load
from segbench.core.typed_yaml import parse

IGNORE = 255
_UNKNOWN = 254  # in look-up tables only; no table has so many classes
_FOLDER = Path(__file__).with_name("tables")
_BESIDE = "classes.yaml"  # class table of an installed package's data set, beside its options
_Byte = Annotated[int, Field(ge=0, le=255)]


class _TableFile(Spec):
    """Class table as it is written in a file."""

    name: str
    source: str
    classes: tuple[tuple[str, tuple[_Byte, _Byte, _Byte]], ...] = Field(min_length=2, max_length=254)
    values: dict[_Byte, _Byte]

    @model_validator(mode="after")
    def _values_are_classes(self) -> Self:
        count = len(self.classes)
        strange = [train_id for train_id in self.values.values() if count <= train_id != IGNORE]
        if strange:
            raise ValueError(f"values name train id {strange[0]}; there are {count} classes")
        return self


@dataclass(frozen=True)
class ClassEntry:
    """One class: its name in the data set and its display colour (R, G, B)."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set in the order of their train ids.

    Attributes:
        name: name of the table, which is the name of its file.
        classes: entry ``i`` is train id ``i``.
        source: where names, order and colours come from.
        values: (value in the label file, train id or 255) for every valid value.
    """

    name: str
    classes: tuple[ClassEntry, ...]
    source: str
    values: tuple[tuple[int, int], ...]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.classes)

    @property
    def slugs(self) -> tuple[str, ...]:
        return tuple(slug(entry.name) for entry in self.classes)

    def slug(self, index: int) -> str:
        """Return the class's name as a key: ``traffic_light``."""
        return slug(self.classes[index].name)

    def palette(self) -> np.ndarray:
        """Return the display colours, uint8 (256, 3) RGB; train ids without a class are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.num_classes] = [entry.color for entry in self.classes]
        return palette

    def to_train_ids(self, raw: np.ndarray) -> np.ndarray:
        """Map label-file values to train ids.

        Args:
            raw: uint8 of any shape.

        Returns:
            uint8 of the same shape: 0..num_classes-1, or 255 where ignored.

        Raises:
            ValueError: a value is not in the table; the message lists the unknown values.
        """
        mapped = _lookup(self)[raw]
        if (mapped == _UNKNOWN).any():
            unknown = np.unique(raw[mapped == _UNKNOWN]).tolist()
            raise ValueError(", ".join(str(value) for value in unknown))
        return mapped


def slug(name: str) -> str:
    """Return a name in lower case with underscores: ``traffic light`` -> ``traffic_light``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


_added: dict[str, ClassTable] = {}  # tables from outside the package, by name


def add_table(table: ClassTable) -> None:
    """Register a table from outside the package; an earlier one of the same name is replaced.

    Raises:
        UsageFault: the package has a table or an alias of that name.
    """
    if table.name in (*_packaged(), *_aliases(), *_installed()):
        fault = f"segbench has a class table {table.name!r} of its own; another name is needed."
        raise UsageFault(fault, next="segbench data list")
    _added[table.name] = table


def remove_table(name: str) -> None:
    """Forget a table that ``add_table`` registered."""
    _added.pop(name, None)


def table_names() -> tuple[str, ...]:
    """Return the names of all class tables, sorted."""
    return tuple(sorted({*_packaged(), *_installed(), *_added}))


def class_table(name: str) -> ClassTable:
    """Return a class table by name or alias (``pascal-context-59``).

    Raises:
        InvalidFault: there is no such table, or the file of an installed package's table has faults.
    """
    if name in _added:
        return _added[name]
    if name in _installed():
        return _read_installed(name)
    if name in _packaged():
        return _read(name)
    if name in _aliases():
        return _read(_aliases()[name])
    beside = registry.installed_folders(registry.KINDS["dataset"].group).get(name)
    if beside is not None:
        fault = f"The dataset {name!r} has no class table: {beside / _BESIDE} does not exist."
        raise InvalidFault(fault, next="segbench data list")
    hint = choices(name, (*table_names(), *_aliases()))
    raise InvalidFault(f"No class table {name!r}. {hint}.", next="segbench data list")


@cache
def _packaged() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@cache
def _installed() -> dict[str, Path]:
    """Return the class tables of installed packages' data sets, named as these; segbench's own names come first."""
    folders = registry.installed_folders(registry.KINDS["dataset"].group)
    files = {name: folder / _BESIDE for name, folder in folders.items() if name not in _packaged()}
    return {name: path for name, path in files.items() if path.is_file()}


@cache
def _read_installed(name: str) -> ClassTable:
    """Read the class table of an installed package's data set.

    Raises:
        InvalidFault: it has faults, one line each.
    """
    path = _installed()[name]
    file, faults = parse(load(path), _TableFile, what="a class table")
    if file is not None and file.name != name:
        faults = [f"{path.name}: the table is called {file.name!r}, the data set {name!r}"]
    if file is None or faults:
        raise InvalidFault(*(f"{name}/{fault}" for fault in faults), next=f"fix {path}")
    classes = tuple(ClassEntry(each, color) for each, color in file.classes)
    return ClassTable(name, classes, file.source, tuple(sorted(file.values.items())))


@cache
def _aliases() -> dict[str, str]:
    """Return the aliases of the package's tables."""
    return {alias: name for name in _packaged() for alias in _data(name)["aliases"]}


@cache
def _data(name: str) -> dict[str, Any]:
    text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return data


@cache
def _read(name: str) -> ClassTable:
    data = _data(name)
    classes = tuple(ClassEntry(name, (color[0], color[1], color[2])) for name, color in data["classes"])
    return ClassTable(data["name"], classes, data["source"], tuple(sorted(data["values"].items())))


@cache
def _lookup(table: ClassTable) -> np.ndarray:
    lookup = np.full(256, _UNKNOWN, np.uint8)
    for value, train_id in table.values:
        lookup[value] = train_id
    return lookup
