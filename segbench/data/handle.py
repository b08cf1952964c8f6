"""One data set with its facts, reader and folder, found once and handed on. Free of torch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from segbench.core.errors import InvalidFault

from . import reader
from .classes import ClassTable, class_table
from .facts import DatasetOptions, facts, require_split
from .places import data_root
from .reader import Pair


@dataclass(frozen=True)
class DatasetHandle:
    """One data set under one data root; its files are not looked at before they are asked for.

    Attributes:
        name: registered name.
        root: data root.
        options: facts.
    """

    name: str
    root: Path
    options: DatasetOptions

    @property
    def readable(self) -> bool:
        """True if segbench has a reader for its files; facts may come first."""
        return reader.is_readable(self.name)

    @cached_property
    def folder(self) -> Path | None:
        """Folder of the data set, located once; None if there is none.

        Raises:
            MissingFault: segbench has no reader for it yet.
        """
        return reader.locate(self.name, self.root)

    def require_folder(self) -> Path:
        """Return the folder.

        Raises:
            MissingFault: there is none, or no reader for it; says how to get the data.
        """
        return self.folder or reader.require_folder(self.name, self.root, self.options)

    def pairs(self, split: str) -> list[Pair]:
        """Return the pairs of a split in their fixed order; their files need not exist.

        Raises:
            UsageFault: no such split.
            MissingFault: no folder, or the list of the split is missing.
            InvalidFault: the list cannot be one.
        """
        require_split(self.options, split)
        return reader.pairs(self.name, self.require_folder(), split)

    @property
    def read_label(self) -> Callable[[Path], np.ndarray]:
        """Function that reads a label file as uint8 (H, W): the values of the class table."""
        return reader.label_reader(self.name)

    @property
    def layout(self) -> str:
        """Layout or encoding of the folder in a few words; empty if there is only one, or no folder."""
        return "" if self.folder is None else reader.layout(self.name, self.folder)

    def table(self, name: str | None = None) -> ClassTable:
        """Return the usual class table, or another one that the label files serve.

        Raises:
            InvalidFault: the table belongs to another data set.
        """
        table = class_table(name or self.options.table)
        known = (self.options.table, *self.options.variants)
        if table.name not in known:
            fault = f"data {self.name}: class table {table.name!r} does not fit; known: {', '.join(known)}."
            raise InvalidFault(fault)
        return table


def find_dataset(name: str, root: Path | None = None, *, options: DatasetOptions | None = None) -> DatasetHandle:
    """Return the handle of a registered data set; it need not be on this machine.

    Args:
        name: registered name.
        root: data root; None for ``SEGBENCH_DATA`` or the user's data folder.
        options: facts; None for the registered ones.

    Raises:
        UsageFault: the name is not registered.
        InvalidFault: a data set of the user's own whose description is faulty.
    """
    return DatasetHandle(name, data_root(root), options or facts(name))
