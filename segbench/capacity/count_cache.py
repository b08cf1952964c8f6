"""Counts that take seconds and follow from the code alone: kept in the cache folder until the code changes."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

import segbench
from segbench.core import atomic
from segbench.core.errors import RunFault
from segbench.core.spec import digest
from segbench.data import places

Counts = dict[str, int]
_ROOMS = ("core", "models", "methods", "losses", "metrics", "engine", "reproduce")  # where what is counted is written

_here: dict[str, Counts] = {}


def remembered(key: dict[str, Any], count: Callable[[], Counts]) -> Counts:
    """What ``count`` gives, or gave earlier for the same key.

    Args:
        key: plain data that says what is counted.
        count: does the work.
    """
    name = digest({**key, "torch": torch.__version__, "code": _code()})
    if name not in _here:
        path = places.cache_root() / "memory" / f"{name}.json"
        _here[name] = _read(path) or _written(path, count())
    return _here[name]


def _read(path: Path) -> Counts | None:
    try:
        found: Counts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or no longer whole
        return None
    return found


def _written(path: Path, counts: Counts) -> Counts:
    try:
        atomic.write_json(path, counts)
    except RunFault:
        return counts  # without a place to keep it, it is counted anew the next time
    return counts


@cache
def _code() -> str:
    """Stands for the code: names, sizes and times of its files."""
    root = Path(segbench.__file__).parent
    files = sorted(path for room in _ROOMS for path in (root / room).rglob("*.py"))
    return digest([(str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
