"""The data set under examination, and the commands that fix it."""

from dataclasses import dataclass
from pathlib import Path

from segbench.core.registry import is_packaged
from segbench.data.classes import ClassTable
from segbench.data.facts import DatasetOptions


@dataclass(frozen=True)
class Case:
    """One data set in one folder.

    Attributes:
        name: of the data set.
        folder: of its files.
        options: its facts.
        table: the class table of its labels.
    """

    name: str
    folder: Path
    options: DatasetOptions
    table: ClassTable

    @property
    def published(self) -> bool:
        """True for published data sets, of which segbench knows the contents; False for the user's own."""
        return is_packaged("dataset", self.name)

    @property
    def replace_command(self) -> str:
        """The command that replaces the files by the published ones."""
        return f"segbench data download {self.name} --replace" if self.options.archives else self._by_hand

    def download_command(self, split: str) -> str:
        """Return the command that gets a missing split."""
        if not self.options.archives:
            return self._by_hand
        return f"segbench data download {self.name}{f' --split {split}' if split in self.options.optional else ''}"

    @property
    def _by_hand(self) -> str:
        return f"fix or replace these files, then: segbench data verify {self.name}"
