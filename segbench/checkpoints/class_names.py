"""Whose classes some names are: other projects spell them a little otherwise, and leave synonyms out. Free of torch."""

import re
from collections.abc import Sequence

from segbench.data.classes import class_table, table_names

_ALIKE = 0.75  # share of the places whose names must agree; projects rename a few
_END = re.compile(r"[,;/(]")
_LEFT_OUT = re.compile(r"[^a-z0-9]")


def table_of(names: Sequence[str]) -> str:
    """The class table whose classes these are in this order; empty if there is none.

    Args:
        names: in the order of a network's outputs.
    """
    shares = {name: agreement(names, class_table(name).names) for name in table_names()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= _ALIKE else ""


def agreement(names: Sequence[str], others: Sequence[str]) -> float:
    """Share of the places where two lists have the same name, spelling aside; 0 for lists of different lengths."""
    if len(names) != len(others) or not names:
        return 0.0
    return sum(_plain(one) == _plain(other) for one, other in zip(names, others, strict=True)) / len(names)


def same_order(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether these are the same classes in the same order, spelling aside."""
    return agreement(names, others) >= _ALIKE


def turned_round(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether these are the same classes, but in another order."""
    if len(names) != len(others) or same_order(names, others):
        return False
    return len({*map(_plain, names)} & {*map(_plain, others)}) >= _ALIKE * len(names)


def _plain(name: str) -> str:
    """``Traffic light; signal`` as ``trafficlight``."""
    return _LEFT_OUT.sub("", _END.split(name, maxsplit=1)[0].casefold())
