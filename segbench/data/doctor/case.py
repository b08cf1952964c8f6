"""The data set that is examined, and the commands that mend it."""

from dataclasses import dataclass
from pathlib import Path

from segbench.core.registry import is_packaged
from segbench.data.classes import ClassTable
from segbench.data.facts import DatasetOptions


@dataclass(frozen=True)
class Case:
    """One data set in one place.

    Attributes:
        name: of the data set.
        folder: where it lies.
        options: its facts.
        table: the class table of its labels.
    """

    name: str
    folder: Path
    options: DatasetOptions
    table: ClassTable

    @property
    def published(self) -> bool:
        """Whether segbench knows what is right, as it does of published data sets; else it is the user's own."""
        return is_packaged("dataset", self.name)

    @property
    def again(self) -> str:
        """The command that gets the data set anew."""
        return f"segbench data download {self.name} --replace" if self.options.archives else self._by_hand

    def get(self, split: str) -> str:
        """The command that gets a split that is not there."""
        if not self.options.archives:
            return self._by_hand
        return f"segbench data download {self.name}{f' --split {split}' if split in self.options.optional else ''}"

    @property
    def _by_hand(self) -> str:
        return f"mend or replace these files, then: segbench data verify {self.name}"
