"""Families of checkpoints, a module each: it defines ``FAMILY``, a `segbench.checkpoints.family.Family`.

Installed packages add theirs by the entry-point group ``segbench.families``. Listing the names imports no torch. A
family's own helpers are private to its module or package; what several share is in `segbench.checkpoints.layouts`.
"""

from collections.abc import Mapping

from segbench.checkpoints.family import Family
from segbench.core import registry
from segbench.core.errors import InvalidFault, UsageFault

_SHORT = {"mmseg": "mmsegmentation", "hf": "huggingface", "transformers": "huggingface", "nvidia": "nvlabs"}


def names() -> tuple[str, ...]:
    """Return the names of all families, sorted."""
    return registry.names("family")


def registered() -> Mapping[str, Family]:
    """Return all families by name, sorted; imports their modules.

    Raises:
        InvalidFault: the family of an installed package cannot be imported, or defines no ``FAMILY`` of its name.
    """
    return {name: _load(name) for name in names()}


def get(name: str) -> Family:
    """Return the family of that name.

    Raises:
        UsageFault: there is no such family.
    """
    known = registered()
    if name not in known:
        close = [each for each in known if _SHORT.get(name) == each or (name and each.startswith(name))]
        hint = f"Close: {', '.join(close)}" if close else registry.choices(name, tuple(known))
        raise UsageFault(f"No checkpoint family {name!r}. {hint}.", next="segbench eval --help")
    return known[name]


def _load(name: str) -> Family:
    module = registry.implementation("family", name)
    family = getattr(module, "FAMILY", None)
    if not isinstance(family, Family) or family.name != name:
        raise InvalidFault(
            f"{module.__name__} defines no FAMILY, a Family with the name {name!r}.", next="segbench eval --help"
        )
    return family
