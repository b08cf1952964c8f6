"""Names to implementations, found by where they lie and imported only when used.

A *kind* is a package (``segbench.methods``, ``segbench.data.sets`` ...). Every sub-package of it that has an
``options`` module is an entry; its name is the sub-package's name with ``_`` turned into ``-``. The options module
is free of torch and defines ``Options``; the implementation stands in a sibling module that only a run imports.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from types import ModuleType

from .errors import UsageFault
from .spec import Options

KINDS = {
    "method": "segbench.methods",
    "decoder": "segbench.models.decoders",
    "backbone": "segbench.models.backbones",
    "dataset": "segbench.data.sets",
}


_added: dict[tuple[str, str], dict[str, ModuleType]] = {}  # (kind, name) to its parts


def add(kind: str, name: str, parts: dict[str, ModuleType]) -> None:
    """Register an entry that does not lie in the package, e.g. a user's own data set.

    Args:
        kind: one of ``KINDS``.
        name: its name; one that was added before is replaced.
        parts: ``options`` and whatever else an entry of the kind has, each with the members of such a module.

    Raises:
        UsageFault: the package has an entry of that name.
    """
    if name in _packaged(kind):
        raise UsageFault(f"segbench has a {kind} {name!r} of its own; another name is needed.", next="segbench list")
    _added[kind, name] = parts


def remove(kind: str, name: str) -> None:
    """Forget an entry that ``add`` registered."""
    _added.pop((kind, name), None)


def names(kind: str) -> tuple[str, ...]:
    """All registered names of a kind, sorted."""
    return tuple(sorted({*_packaged(kind), *added(kind)}))


def added(kind: str) -> tuple[str, ...]:
    """Names of a kind that ``add`` registered, sorted."""
    return tuple(sorted(name for of, name in _added if of == kind))


@cache
def _packaged(kind: str) -> tuple[str, ...]:
    package = importlib.import_module(KINDS[kind])
    found = [
        info.name.replace("_", "-")
        for info in pkgutil.iter_modules(package.__path__)
        if info.ispkg and importlib.util.find_spec(f"{package.__name__}.{info.name}.options")
    ]
    return tuple(sorted(found))


def is_registered(kind: str, name: str) -> bool:
    return name in names(kind)


def has_part(kind: str, name: str, part: str) -> bool:
    """Whether an entry has a module of that name; a data set may be known before it can be read."""
    if (kind, name) in _added:
        return part in _added[kind, name]
    return is_registered(kind, name) and importlib.util.find_spec(_path(kind, name, part)) is not None


def is_packaged(kind: str, name: str) -> bool:
    """Whether the package has an entry of that name, however it is spelt (``CamVid``, ``pascal_context``)."""
    return name.lower().replace("_", "-") in _packaged(kind)


def close_names(name: str, known: tuple[str, ...] | list[str], *, limit: int = 3, cutoff: float = 0.6) -> list[str]:
    """Known names that a typing slip could have meant, best first."""
    return get_close_matches(name, known, n=limit, cutoff=cutoff)


def choices(name: str, known: Sequence[str], *, word: str = "Known") -> str:
    """``Close: a, b``, where a typing slip could have meant them, otherwise ``Known: `` and all there are."""
    close = close_names(name, list(known))
    return f"Close: {', '.join(close)}" if close else f"{word}: {', '.join(known) or 'none'}"


def options_of(kind: str, name: str) -> type[Options]:
    """The torch-free ``Options`` type of an entry.

    Raises:
        UsageFault: the name is not registered.
    """
    options: type[Options] = _module(kind, name, "options").Options
    return options


def implementation(kind: str, name: str, part: str) -> ModuleType:
    """The entry's module ``part`` (it may import torch).

    Raises:
        UsageFault: the name is not registered.
    """
    return _module(kind, name, part)


def _module(kind: str, name: str, part: str) -> ModuleType:
    if not is_registered(kind, name):
        raise UsageFault(f"No {kind} {name!r}. {choices(name, names(kind))}.", next="segbench list")
    if (kind, name) in _added:
        return _added[kind, name][part]
    return importlib.import_module(_path(kind, name, part))


def _path(kind: str, name: str, part: str) -> str:
    return f"{KINDS[kind]}.{name.replace('-', '_')}.{part}"
