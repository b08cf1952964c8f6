"""Class tables: names, colours, and which value of a label file means which class. Free of torch."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from segbench.core.errors import InvalidFault
from segbench.core.registry import close_names

IGNORE = 255
_UNKNOWN = 254  # in look-up tables only; no table has so many classes
_FOLDER = Path(__file__).with_name("tables")


@dataclass(frozen=True)
class ClassEntry:
    """One class: its name as the data set writes it and its display colour (R, G, B)."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set in the order of their train ids.

    Attributes:
        name: name of the table, which is the name of its file.
        classes: entry ``i`` is train id ``i``.
        source: where names, order and colours come from.
        values: (value in the label file, train id or 255) for every value that may occur there.
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
        """The class's name as a key: ``traffic_light``."""
        return slug(self.classes[index].name)

    def palette(self) -> np.ndarray:
        """Display colours, uint8 (256, 3) RGB; train ids without a class are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.num_classes] = [entry.color for entry in self.classes]
        return palette

    def to_train_ids(self, raw: np.ndarray) -> np.ndarray:
        """Map label-file values to train ids.

        Args:
            raw: uint8 of any shape.

        Returns:
            uint8 of the same shape: 0..num_classes-1, or 255 where nothing is scored.

        Raises:
            ValueError: a value is not in the table; the message lists the unknown values.
        """
        mapped = _lookup(self)[raw]
        if (mapped == _UNKNOWN).any():
            unknown = np.unique(raw[mapped == _UNKNOWN]).tolist()
            raise ValueError(", ".join(str(value) for value in unknown))
        return mapped


def slug(name: str) -> str:
    """``traffic light`` -> ``traffic_light``: lower case, one underscore for everything else."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


@cache
def table_names() -> tuple[str, ...]:
    """Names of all class tables, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@cache
def class_table(name: str) -> ClassTable:
    """The class table of that name; ``pascal-context-59`` and the like are aliases.

    Raises:
        InvalidFault: there is no such table.
    """
    path = _FOLDER / f"{name}.yaml"
    if name in table_names():
        return _read(path)
    aliases = {alias: known for known in table_names() for alias in _data(_FOLDER / f"{known}.yaml")["aliases"]}
    if name in aliases:
        return class_table(aliases[name])
    known = (*table_names(), *aliases)
    close = close_names(name, known) or list(table_names())
    raise InvalidFault(f"No class table {name!r}. Close: {', '.join(close)}.", next="segbench data list")


def _data(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _read(path: Path) -> ClassTable:
    data = _data(path)
    classes = tuple(ClassEntry(name, (color[0], color[1], color[2])) for name, color in data["classes"])
    return ClassTable(data["name"], classes, data["source"], tuple(sorted(data["values"].items())))


@cache
def _lookup(table: ClassTable) -> np.ndarray:
    lookup = np.full(256, _UNKNOWN, np.uint8)
    for value, train_id in table.values:
        lookup[value] = train_id
    return lookup
