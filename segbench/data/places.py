"""Where data lies and where what can be computed again is kept."""

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

HIDDEN = ".segbench"  # folder of segbench's own files in the data root, and in a data set that it unpacked


def data_root(root: Path | str | None = None) -> Path:
    """The folder of all data sets: ``root``, else ``SEGBENCH_DATA``, else the user's data folder."""
    if root is not None:
        return Path(root).expanduser()
    said = os.environ.get("SEGBENCH_DATA")
    return Path(said).expanduser() if said else user_data_path("segbench", appauthor=False) / "data"


def cache_root() -> Path:
    """The cache folder: ``SEGBENCH_CACHE``, else the user's cache folder. It need not exist."""
    said = os.environ.get("SEGBENCH_CACHE")
    return Path(said).expanduser() if said else user_cache_path("segbench", appauthor=False)
