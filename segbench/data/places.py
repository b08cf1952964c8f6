"""Folders of data and of caches."""

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

HIDDEN = ".segbench"  # folder of segbench's own files in the data root, and in a data set that it unpacked


def data_root(root: Path | str | None = None) -> Path:
    """Return the data root: ``root``, else ``SEGBENCH_DATA``, else the user's data folder."""
    if root is not None:
        return Path(root).expanduser()
    given = os.environ.get("SEGBENCH_DATA")
    return Path(given).expanduser() if given else user_data_path("segbench", appauthor=False) / "data"


def cache_root() -> Path:
    """Return the cache folder: ``SEGBENCH_CACHE``, else the user's cache folder. It need not exist."""
    given = os.environ.get("SEGBENCH_CACHE")
    return Path(given).expanduser() if given else user_cache_path("segbench", appauthor=False)
