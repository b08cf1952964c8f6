"""Names to implementations, found by where they lie and imported only when used.

A *kind* is a package of segbench (``segbench.methods``, ``segbench.data.sets`` ...) and a group of entry points by
which other installed packages add to it (``segbench.methods``, ``segbench.datasets`` ...). An entry of most kinds is a
package: its ``options`` module is free of torch and defines ``Options``, and the implementation stands in a sibling
module that only a run imports. An entry of the others is a single module. The name of an entry is that of its package
or module with ``_`` turned into ``-``, or that of its entry point. A package of several alike entries names them: its
``ENTRIES`` maps each name to that of its class in ``options``, in the place of ``Options``.
"""

import importlib
import importlib.util
import pkgutil
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import InvalidFault, UsageFault, first_line
from .spec import Choice, Options


@dataclass(frozen=True)
class Kind:
    """Something that recipes and commands name.

    Attributes:
        package: package that holds segbench's own entries.
        group: entry-point group by which installed packages add theirs.
        single: an entry is one module, not a package with an ``options`` module.
        options: base class of an entry's ``Options``, as ``module:class``.
    """

    package: str
    group: str
    single: bool = False
    options: str = "segbench.core.spec:Options"


KINDS = {
    "method": Kind("segbench.methods", "segbench.methods"),
    "decoder": Kind("segbench.models.decoders", "segbench.decoders"),
    "backbone": Kind("segbench.models.backbones", "segbench.backbones"),
    "dataset": Kind("segbench.data.sets", "segbench.datasets", options="segbench.data.facts:DatasetOptions"),
    "loss": Kind(
        "segbench.losses.extra", "segbench.losses", single=True, options="segbench.losses.options:LossOptions"
    ),
    "format": Kind("segbench.results.formats", "segbench.formats", single=True),
    "family": Kind("segbench.checkpoints.families", "segbench.families", single=True),  # has no options
}
RECIPES_GROUP = "segbench.recipes"  # packages whose folder holds recipes
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

_added: dict[tuple[str, str], dict[str, ModuleType]] = {}  # (kind, name) to its modules


def add(kind: str, name: str, modules: dict[str, ModuleType]) -> None:
    """Register an entry at run time, e.g. a user's own data set.

    Args:
        kind: one of ``KINDS``.
        name: its name; one that was added before is replaced.
        modules: ``options`` and whatever else an entry of the kind has, each with the members of such a module.

    Raises:
        UsageFault: the name is taken by an entry of segbench or of an installed package.
    """
    if name in _packaged(kind) or name in installed(KINDS[kind].group):
        raise UsageFault(f"segbench has a {kind} {name!r} of its own; another name is needed.", next="segbench list")
    _added[kind, name] = modules


def remove(kind: str, name: str) -> None:
    """Remove an entry that ``add`` registered."""
    _added.pop((kind, name), None)


def names(kind: str) -> tuple[str, ...]:
    """Return all registered names of a kind, sorted."""
    return tuple(sorted({*_packaged(kind), *_plugins(kind), *added(kind)}))


def added(kind: str) -> tuple[str, ...]:
    """Return the names of a kind that ``add`` registered, sorted."""
    return tuple(sorted(name for of, name in _added if of == kind))


@cache
def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group that installed packages declare, by name.

    Raises:
        InvalidFault: two packages declare the same name, or a name cannot be one.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        if not _NAME.fullmatch(entry.name):
            fault = f"{_owner(entry)} calls an entry of {group} {entry.name!r}: lower-case letters, digits and dashes."
            raise InvalidFault(fault, next=_uninstall(entry))
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            fault = f"{_owner(other)} and {_owner(entry)} both add {entry.name!r} to {group}."
            raise InvalidFault(fault, next=_uninstall(entry))
    return found


@cache
def installed_folders(group: str) -> dict[str, Path]:
    """Return the folders of the packages that the entry points of a group name, by name of the entry point.

    Raises:
        InvalidFault: an entry point does not name a package that can be found.
    """
    found = {}
    for name, entry in installed(group).items():
        try:
            spec = importlib.util.find_spec(entry.module)
        except Exception as error:  # importing a parent package runs other people's code
            raise InvalidFault(
                f"{name!r} of {_owner(entry)} cannot be imported: {first_line(error, named=True)}.",
                next=_uninstall(entry),
            ) from error
        if spec is None or not spec.submodule_search_locations:
            fault = f"{_owner(entry)} adds {name!r} to {group}, but {entry.module} is no package."
            raise InvalidFault(fault, next=_uninstall(entry))
        found[name] = Path(next(iter(spec.submodule_search_locations)))
    return found


@cache
def _plugins(kind: str) -> dict[str, EntryPoint]:
    """Return the entries that installed packages add to a kind.

    Raises:
        InvalidFault: one has the name of an entry of segbench.
    """
    found = installed(KINDS[kind].group)
    for name in found.keys() & _packaged(kind):
        fault = f"{_owner(found[name])} adds a {kind} {name!r}, which segbench has already."
        raise InvalidFault(fault, next=_uninstall(found[name]))
    return found


@cache
def _packaged(kind: str) -> dict[str, str]:
    """Return segbench's own entries of a kind, with the package or module of each."""
    package = importlib.import_module(KINDS[kind].package)
    found: dict[str, str] = {}
    for info in pkgutil.iter_modules(package.__path__):
        path = f"{package.__name__}.{info.name}"
        if KINDS[kind].single or (info.ispkg and importlib.util.find_spec(f"{path}.options") is not None):
            found |= dict.fromkeys(_entries(path) or [info.name.replace("_", "-")], path)
    return found


def _entries(path: str) -> dict[str, str]:
    """Return ``ENTRIES`` of a package that was imported already, empty if it has none."""
    found: dict[str, str] = getattr(sys.modules.get(path), "ENTRIES", {})
    return found


def is_registered(kind: str, name: str) -> bool:
    """Return True if a kind has an entry of that name."""
    return name in names(kind)


def has_module(kind: str, name: str, module: str) -> bool:
    """Return True if an entry has a module of that name; a data set may be known before it can be read."""
    if (kind, name) in _added:
        return module in _added[kind, name]
    if not is_registered(kind, name):
        return False
    if name in _plugins(kind):
        _import(kind, name, _plugins(kind)[name].module)  # looking for a submodule imports the package anyway
    return importlib.util.find_spec(_path(kind, name, module)) is not None


def is_packaged(kind: str, name: str) -> bool:
    """Return True if segbench itself has an entry of that name, in any spelling (``CamVid``, ``pascal_context``)."""
    return name.lower().replace("_", "-") in _packaged(kind)


def close_names(name: str, known: tuple[str, ...] | list[str], *, limit: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the known names that a typing slip could have meant, best first."""
    return get_close_matches(name, known, n=limit, cutoff=cutoff)


def choices(name: str, known: Sequence[str], *, word: str = "Known") -> str:
    """Return ``Close: a, b`` if a typing slip could have meant them, otherwise ``Known:`` with all there are."""
    close = close_names(name, list(known))
    return f"Close: {', '.join(close)}" if close else f"{word}: {', '.join(known) or 'none'}"


def options_of(kind: str, name: str) -> type[Options]:
    """Return the torch-free ``Options`` type of an entry.

    Raises:
        UsageFault: the name is not registered.
        InvalidFault: the entry of an installed package cannot be imported, has no ``Options``, or some of another type.
    """
    implementation(kind, name, "options")
    own = "Options" if (kind, name) in _added else _entries(_base(kind, name)).get(name, "Options")
    options: type[Options] = member(kind, name, own, module="options")
    if name in _plugins(kind):
        path, _, base = KINDS[kind].options.partition(":")
        if not (isinstance(options, type) and issubclass(options, getattr(importlib.import_module(path), base))):
            entry = _plugins(kind)[name]
            fault = f"Options of the {kind} {name!r} of {_owner(entry)} must be a subclass of {path}.{base}."
            raise InvalidFault(fault, next=_uninstall(entry))
    return options


def chosen(kind: str, choice: Choice) -> Any:
    """Return the validated ``Options`` of a choice.

    Raises:
        UsageFault, InvalidFault: as for `options_of`.
        pydantic.ValidationError: an option does not exist or has an impossible value.
    """
    return options_of(kind, choice.name).model_validate(choice.options)


def member(kind: str, name: str, attribute: str, *, module: str = "") -> Any:
    """Return a class or function that a module of an entry must define.

    Raises:
        UsageFault: the name is not registered.
        InvalidFault: the entry of an installed package cannot be imported, or does not define it.
    """
    found = implementation(kind, name, module)
    if name in _plugins(kind) and not hasattr(found, attribute):
        entry = _plugins(kind)[name]
        fault = f"The {kind} {name!r} of {_owner(entry)} defines no {attribute} in {found.__name__}."
        raise InvalidFault(fault, next=_uninstall(entry))
    return getattr(found, attribute)


def failed_entry(error: BaseException) -> str:
    """Return ``decoder 'fpn' of segbench-fpn 1.0 failed in FILE:LINE``, or an empty string.

    It is the entry of an installed package that is innermost in the traceback of an unexpected exception; segbench's
    own entries never are.
    """
    entries = [(kind, entry) for kind in KINDS for entry in installed(KINDS[kind].group).values()]
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        for kind, entry in entries:
            if module == entry.module or module.startswith(f"{entry.module}."):
                found = f"{kind} {entry.name!r} of {_owner(entry)} failed in {frame.f_code.co_filename}:{line}"
    return found


def implementation(kind: str, name: str, module: str = "") -> ModuleType:
    """Return a module of an entry (it may import torch); the entry itself where the kind has single modules.

    Raises:
        UsageFault: the name is not registered.
        InvalidFault: the entry of an installed package cannot be imported.
    """
    if not is_registered(kind, name):
        raise UsageFault(f"No {kind} {name!r}. {choices(name, names(kind))}.", next="segbench list")
    if (kind, name) in _added:
        found = _added[kind, name]
        return next(iter(found.values())) if KINDS[kind].single else found[module]
    return _import(kind, name, _path(kind, name, module))


def _path(kind: str, name: str, module: str) -> str:
    base = _base(kind, name)
    return base if KINDS[kind].single else f"{base}.{module}"


def _base(kind: str, name: str) -> str:
    """Return the package or module of a registered entry."""
    return _plugins(kind)[name].module if name in _plugins(kind) else _packaged(kind)[name]


def _import(kind: str, name: str, path: str) -> ModuleType:
    """Import a module, with the errors of other people's packages as faults.

    Raises:
        InvalidFault: the module belongs to an installed package and does not import.
    """
    if name not in _plugins(kind):
        return importlib.import_module(path)
    try:
        return importlib.import_module(path)
    except Exception as error:
        entry = _plugins(kind)[name]
        raise InvalidFault(
            f"The {kind} {name!r} of {_owner(entry)} cannot be imported: {first_line(error, named=True)}.",
            next=_uninstall(entry),
        ) from error


def _owner(entry: EntryPoint) -> str:
    """Return the package that declares an entry point, with its version."""
    return "an installed package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _uninstall(entry: EntryPoint) -> str:
    return f"python -m pip uninstall {'PACKAGE' if entry.dist is None else entry.dist.name}"
