"""Class tables and data sets by the names or the number of classes. Free of torch.

Other projects spell class names a little differently and leave synonyms out.
"""

import re
from collections.abc import Sequence
from contextlib import suppress

from segbench.core import registry
from segbench.core.errors import InvalidFault, MissingFault
from segbench.data.classes import ClassTable, class_table, table_names
from segbench.data.facts import facts

_ALIKE = 0.75  # share of the positions whose names must agree; projects rename a few
_END = re.compile(r"[,;/(]")
_LEFT_OUT = re.compile(r"[^a-z0-9]")


def table_of(names: Sequence[str]) -> str:
    """Return the class table with these names in this order; empty if there is none.

    Args:
        names: in the order of a network's outputs.
    """
    shares = {}
    for name in table_names():
        with suppress(InvalidFault):  # the file of an installed package
            shares[name] = agreement(names, class_table(name).names)
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= _ALIKE else ""


def tables_by_dataset() -> dict[str, tuple[ClassTable, ...]]:
    """Return the class tables of every data set, its usual one first; data sets with faults are left out."""
    found = {}
    for name in registry.names("dataset"):
        with suppress(InvalidFault, MissingFault):  # of an installed package, or the user's own
            known = facts(name)
            found[name] = tuple(class_table(table) for table in (known.table, *known.variants))
    return found


def likely_dataset(num_classes: int) -> str:
    """Return the data set that a network with so many outputs most likely predicts; empty if there is none.

    Data sets with labels to evaluate on come first, then those whose main class table has the number, then those that
    come with segbench.
    """

    def unlikelihood(name: str) -> tuple[bool, bool, bool]:
        known = facts(name)
        evaluated = bool({"val", "test"} & known.splits.keys())
        return (
            not evaluated,
            class_table(known.table).num_classes != num_classes,
            not registry.is_packaged("dataset", name),
        )

    fitting = [
        name
        for name, tables in tables_by_dataset().items()
        if any(table.num_classes == num_classes for table in tables)
    ]
    return min(fitting, key=unlikelihood, default="")


def agreement(names: Sequence[str], others: Sequence[str]) -> float:
    """Return the share of positions with the same name, spelling aside; 0 for lists of different lengths."""
    if len(names) != len(others) or not names:
        return 0.0
    return sum(_plain(one) == _plain(other) for one, other in zip(names, others, strict=True)) / len(names)


def same_order(names: Sequence[str], others: Sequence[str]) -> bool:
    """Return True for the same classes in the same order, spelling aside."""
    return agreement(names, others) >= _ALIKE


def is_reordered(names: Sequence[str], others: Sequence[str]) -> bool:
    """Return True for the same classes in another order."""
    if len(names) != len(others) or same_order(names, others):
        return False
    return len({*map(_plain, names)} & {*map(_plain, others)}) >= _ALIKE * len(names)


def _plain(name: str) -> str:
    """Normalise ``Traffic light; signal`` to ``trafficlight``."""
    return _LEFT_OUT.sub("", _END.split(name, maxsplit=1)[0].casefold())
