"""Folders of a run."""

from dataclasses import dataclass
from pathlib import Path

from segbench.data import places
from segbench.results.store import Store, default_root


@dataclass(frozen=True)
class Folders:
    """Folders that a run reads and writes.

    Attributes:
        results: records and trainings.
        data: a folder per data set.
        use_cache: read prepared images, and prepare those that a training needs; no figure depends on it.
    """

    results: Path
    data: Path
    use_cache: bool = True

    @property
    def store(self) -> Store:
        """Records and trainings in ``results``."""
        return Store(self.results)


def find_folders(results: Path | None = None, data: Path | None = None, *, use_cache: bool = True) -> Folders:
    """Return the folders named here, else in ``SEGBENCH_RESULTS`` and ``SEGBENCH_DATA``, else the user's own."""
    return Folders(results if results is not None else default_root(), places.data_root(data), use_cache)
