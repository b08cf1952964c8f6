"""Readings of a row: those that apply, the option chosen and the values that it sets."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import choices, close_names

from .crosscheck import no_network
from .schema import SECTIONS, Confidence, Network, Reading
from .tables import Catalog, Table
from .tree import Origin, Traced, is_section, pick, plain


@dataclass(frozen=True)
class ReadingUse:
    """A reading that a row rests on, and the option chosen."""

    name: str
    option: str
    reading: Reading

    @property
    def is_default(self) -> bool:
        return self.option == self.reading.default

    @property
    def is_recollected(self) -> bool:
        """True if nobody has found the option in a text."""
        return self.option in self.reading.recollected

    @property
    def confidence(self) -> Confidence:
        return self.reading.confidence


def apply(
    catalog: Catalog, table: Table, facts: Mapping[str, str], tree: dict[str, Any], wanted: Mapping[str, str]
) -> list[ReadingUse]:
    """Set the values of the readings that apply to a row, one after the other, and return these readings.

    Args:
        catalog: the catalog of the table.
        table: the table with its readings.
        facts: names of table, row and dataset.
        tree: traced sections of the row, changed in place.
        wanted: option by reading, if not the default; readings that do not apply to this row are ignored.

    Raises:
        UsageFault: unknown reading or option.
        InvalidFault: an option sets what cannot be set.
    """
    available = catalog.readings_of(table)
    networks = {name: network for name, (network, _) in catalog.networks_of(table).items()}
    wanted = _ungrouped(table, {name: reading for name, (reading, _) in available.items()}, wanted)
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
            fault = assign(tree, path, copy.deepcopy(value), origin, networks=networks)
            if fault:
                faults.append(f"{document.where((*location, path))}: {'.'.join((*location, path))}: {fault}")
        uses.append(ReadingUse(name, option, reading))
    if faults:
        raise InvalidFault(*faults, next=f"segbench show {table.name} --readings")
    return uses


def assign(tree: dict[str, Any], path: str, value: Any, origin: Origin, *, networks: Mapping[str, Network]) -> str:
    """Set one dotted path of a traced tree.

    The value ``$path`` is replaced by the value at that path, and ``model.network`` sets the whole named network.

    Returns:
        The fault, or an empty string. A path never creates a stage or a stream and never reaches into a single setting,
        so that a typing slip is noticed.
    """
    names = path.split(".")
    if names[0] not in SECTIONS or len(names) < 2:
        return f"a path is SECTION.NAME, of the sections {', '.join(SECTIONS)}"
    for depth, kind in ((2, "stage"), (4, "stream")):
        inside = names[0] == "stages" and (depth == 2 or names[2:3] == ["streams"])
        if inside and not isinstance(pick(tree, ".".join(names[:depth])), dict):
            known = pick(tree, ".".join(names[: depth - 1])) or {}
            return f"there is no {kind} {names[depth - 1]!r}; known: {', '.join(known) or 'none'}"
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
    if names[-2:] == ["model", "network"]:
        if str(value) not in networks:
            return no_network(value, networks)
        place |= _leaves(networks[str(value)].tree(), origin)
    place[names[-1]] = _leaves(value, origin)
    return ""


def _ungrouped(table: Table, available: Mapping[str, Reading], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the wanted options with groups replaced by their readings; what names a reading itself has precedence.

    Raises:
        UsageFault: unknown reading or group, or no reading of a group has the option.
    """
    help_ = f"segbench show {table.name} --readings"
    groups = {reading.group for reading in available.values() if reading.group}
    found: dict[str, str] = {}
    for name, option in wanted.items():
        if name in groups:
            members = {key: each for key, each in available.items() if each.group == name}
            own = [key for key, each in members.items() if option in each.options]
            if not own:
                options = dict.fromkeys(each for reading in members.values() for each in reading.options)
                raise UsageFault(
                    f"No reading of {name!r} has an option {option!r}; there are {', '.join(options)}.", next=help_
                )
            found |= dict.fromkeys(own, option)
        elif name not in available:
            known = [*available, *sorted(groups)]
            raise UsageFault(f"No reading {name!r} for {table.name}. {choices(name, known)}.", next=help_)
    return found | {name: option for name, option in wanted.items() if name in available}


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
