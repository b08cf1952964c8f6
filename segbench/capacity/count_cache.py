"""A cache of counts that take seconds and depend on the code alone, kept on disk until the code changes."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from segbench.core import atomic
from segbench.core.errors import RunFault
from segbench.core.spec import digest
from segbench.data import places

Counts = dict[str, int]
_ROOMS = ("capacity", "core", "engine", "losses", "methods", "metrics", "models")  # the code that counts depend on

_loaded: dict[str, Counts] = {}


def cached_counts(key: dict[str, Any], count: Callable[[], Counts]) -> Counts:
    """Return the counts of ``count``, from the cache if it was called with this key before.

    Args:
        key: plain data that identifies the counts.
        count: does the work.
    """
    name = digest({**key, "torch": torch.__version__, "code": _code()})
    if name not in _loaded:
        path = places.cache_root() / "counts" / f"{name}.json"
        _loaded[name] = _read(path) or _written(path, count())
    return _loaded[name]


def _read(path: Path) -> Counts | None:
    try:
        found: Counts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or damaged
        return None
    return found


def _written(path: Path, counts: Counts) -> Counts:
    try:
        atomic.write_json(path, counts)
    except RunFault:
        return counts  # counted again the next time
    return counts


@cache
def _code() -> str:
    """Return a digest of names, sizes and modification times of the code files."""
    root = Path(__file__).parents[1]
    files = sorted(path for room in _ROOMS for path in (root / room).rglob("*.py"))
    return digest([(str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
