"""Trees of settings: nested maps whose leaves carry the origin of their value."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Origin:
    """Origin of a value.

    Attributes:
        layer: base, table, row, network, reading, budget, command line or default.
        where: file and line, or the option typed.
        source: the publication or code that states the value, from the recipe's ``sources``.
        confidence: set if the value is inferred.
    """

    layer: str
    where: str = ""
    source: str = ""
    confidence: str | None = None

    def __str__(self) -> str:
        mark = f" [{self.confidence} confidence]" if self.confidence else ""
        return "".join([self.layer, f" · {self.source}" if self.source else "", mark])


@dataclass(frozen=True)
class Traced:
    """A value and its origin."""

    value: Any
    origin: Origin


def is_section(value: Any) -> bool:
    """Return True for a map of settings, False for a single setting, including one that is a map by integer."""
    return isinstance(value, Mapping) and not any(isinstance(key, int) for key in value)


def plain(tree: Any) -> Any:
    """Return a traced tree as plain data."""
    if isinstance(tree, Traced):
        return tree.value
    if isinstance(tree, Mapping):
        return {key: plain(value) for key, value in tree.items()}
    return tree


def frozen(tree: Any) -> Any:
    """Return a read-only view of a tree; the leaves themselves are shared."""
    if is_section(tree):
        return MappingProxyType({key: frozen(value) for key, value in tree.items()})
    return tree


def thawed(tree: Any) -> Any:
    """Return a copy of a tree whose sections can be changed; the leaves themselves are shared."""
    if is_section(tree):
        return {key: thawed(value) for key, value in tree.items()}
    return tree


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a tree by dotted path; see ``is_section`` for what counts as a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if is_section(value):
            leaves |= flatten(value, f"{path}.")
        else:
            leaves[path] = value
    return leaves


def pick(tree: Mapping[Any, Any], path: str, default: Any = None) -> Any:
    """Return the value at a dotted path, or the default."""
    for name in path.split("."):
        if not isinstance(tree, Mapping) or name not in tree:
            return default
        tree = tree[name]
    return tree


def put(tree: dict[Any, Any], path: str, value: Any) -> None:
    """Set one dotted path in place, creating sections as needed."""
    *parents, last = path.split(".")
    for parent in parents:
        inner = tree.get(parent)
        if not isinstance(inner, dict):
            inner = tree[parent] = {}
        tree = inner
    tree[last] = value


def deep_merge(lower: Mapping[Any, Any], upper: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return ``upper`` merged over ``lower``; single settings and maps by integer are replaced as a whole.

    A map that names another entry (``name`` differs) replaces the lower one: options of one method are no options of
    another. A model that names another network replaces whatever that network sets.
    """
    if "name" in upper and "name" in lower and plain(upper["name"]) != plain(lower["name"]):
        return dict(upper)
    if "network" in upper and plain(upper["network"]) != plain(lower.get("network")):
        return {**lower, **upper}
    merged = dict(lower)
    for key, value in upper.items():
        if is_section(value) and is_section(merged.get(key)):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = value
    return merged
