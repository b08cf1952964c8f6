"""Status of a data set in one call."""

from collections.abc import Sequence
from pathlib import Path

from segbench.data.facts import DatasetOptions
from segbench.data.handle import find_dataset
from segbench.data.presence import presence


def data_status(
    name: str, root: Path, *, splits: Sequence[str] | None = None, options: DatasetOptions | None = None
) -> str:
    """Return ``ready``, ``missing`` and so on, see ``presence.Presence``."""
    return presence(find_dataset(name, root, options=options), splits).status
