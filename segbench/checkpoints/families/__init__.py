"""Families of checkpoints, a module each: it defines ``FAMILY``, a `segbench.checkpoints.family.Family`.

Listing the names imports no torch. A family's own helpers are private to its module or package; what several share is
in `segbench.checkpoints.layouts`.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from segbench.checkpoints.family import Family
from segbench.core.errors import UsageFault
from segbench.core.registry import choices

_SHORT = {"mmseg": "mmsegmentation", "hf": "huggingface", "transformers": "huggingface", "nvidia": "nvlabs"}


@cache
def names() -> tuple[str, ...]:
    """Return the names of all families, sorted."""
    return tuple(sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__)))


@cache
def registered() -> Mapping[str, Family]:
    """Return all families by name, sorted; imports their modules."""
    return {name: importlib.import_module(f"{__name__}.{name.replace('-', '_')}").FAMILY for name in names()}


def get(name: str) -> Family:
    """Return the family of that name.

    Raises:
        UsageFault: there is no such family.
    """
    known = registered()
    if name not in known:
        close = [each for each in known if _SHORT.get(name) == each or (name and each.startswith(name))]
        hint = f"Close: {', '.join(close)}" if close else choices(name, tuple(known))
        raise UsageFault(f"No checkpoint family {name!r}. {hint}.", next="segbench eval --help")
    return known[name]
