"""Readings of a row: which apply, which option is taken, and what it sets."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import choices, close_names

from .catalog import Catalog, Table
from .protocol import Origin, Traced, is_section, pick, plain
from .schema import SECTIONS, Confidence, Reading


@dataclass(frozen=True)
class ReadingUse:
    """A reading that a row rests on, and the option taken."""

    name: str
    option: str
    reading: Reading

    @property
    def is_default(self) -> bool:
        return self.option == self.reading.default

    @property
    def confidence(self) -> Confidence:
        return self.reading.confidence


def apply(
    catalog: Catalog, table: Table, facts: Mapping[str, str], tree: dict[str, Any], wanted: Mapping[str, str]
) -> list[ReadingUse]:
    """Set in ``tree`` what the readings say that apply to a row, one after the other, and return them.

    Args:
        catalog: of the table.
        table: whose readings are meant.
        facts: names of table, row and dataset.
        tree: traced sections of the row, changed in place.
        wanted: option by reading, where it is not the default; what does not apply to this row is left aside.

    Raises:
        UsageFault: unknown reading or option.
        InvalidFault: an option sets what cannot be set.
    """
    available = catalog.readings_of(table)
    _known(table, list(available), wanted)
    uses, faults = [], []
    for name, (reading, document) in available.items():
        if not _applies(reading, tree, facts):
            continue
        option = wanted.get(name, reading.default)
        if option not in reading.options:
            close = close_names(option, list(reading.options), limit=1)
            raise UsageFault(
                f"Reading {name!r} has no option {option!r}; it has {', '.join(reading.options)}."
                + (f" Close: {close[0]}." if close else ""),
                next=f"segbench show {table.name} --readings",
            )
        location = ("readings", name, "options", option, "set")
        origin = Origin(f"reading {name}={option}", document.where(location), reading.source, reading.confidence)
        for path, value in reading.options[option].set.items():
            fault = assign(tree, path, copy.deepcopy(value), origin)
            if fault:
                faults.append(f"{document.where((*location, path))}: {'.'.join((*location, path))}: {fault}")
        uses.append(ReadingUse(name, option, reading))
    if faults:
        raise InvalidFault(*faults, next=f"segbench show {table.name} --readings")
    return uses


def assign(tree: dict[str, Any], path: str, value: Any, origin: Origin) -> str:
    """Set one dotted path of a traced tree; ``$path`` as the value stands for what is at that path.

    Returns:
        Why it cannot be set, or nothing. A path never makes a stage or a stream and never reaches into a value that is
        one setting, so that a slip in it is not lost.
    """
    names = path.split(".")
    if names[0] not in SECTIONS or len(names) < 2:
        return f"a path is SECTION.NAME, of the sections {', '.join(SECTIONS)}"
    for depth, kind in ((2, "stage"), (4, "stream")):
        inside = names[0] == "stages" and (depth == 2 or names[2:3] == ["streams"])
        if inside and not isinstance(pick(tree, ".".join(names[:depth])), dict):
            known = pick(tree, ".".join(names[: depth - 1])) or {}
            return f"there is no {kind} {'.'.join(names[depth - 1 : depth])!r}; known: {', '.join(known) or 'none'}"
    if isinstance(value, str) and value.startswith("$"):
        found = pick(tree, value[1:])
        if found is None:
            return f"there is nothing at {value[1:]!r}"
        value = plain(found)
    place = tree
    for depth, name in enumerate(names[:-1], 1):
        inner = place.get(name)
        if isinstance(inner, Traced) and inner.value is not None:
            return f"{'.'.join(names[:depth])} is one setting and can be set as a whole only"
        if not isinstance(inner, dict):
            inner = place[name] = {}
        place = inner
    place[names[-1]] = _leaves(value, origin)
    return ""


def _known(table: Table, available: list[str], wanted: Mapping[str, str]) -> None:
    for name in wanted:
        if name not in available:
            raise UsageFault(
                f"No reading {name!r} for {table.name}. {choices(name, available)}.",
                next=f"segbench show {table.name} --readings",
            )


def _applies(reading: Reading, tree: dict[str, Any], facts: Mapping[str, str]) -> bool:
    for path, wanted in reading.when.items():
        value = facts[path] if path in facts else plain(pick(tree, path))
        if value not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def _leaves(value: Any, origin: Origin) -> Any:
    if value and is_section(value):
        return {key: _leaves(inner, origin) for key, inner in value.items()}
    return Traced(value, origin)
