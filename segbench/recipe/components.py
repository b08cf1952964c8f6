"""Typed components of a protocol, with their faults and with what this version of segbench does not support yet."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from segbench.core import registry
from segbench.core.spec import AugmentationSpec, Choice, DataSpec, ModelSpec, StreamSpec
from segbench.core.strict_yaml import load
from segbench.core.typed_yaml import sentence

Model = TypeVar("Model", bound=BaseModel)
_STREAM_KEYS = ("batch_total", "crop")


@dataclass
class Findings:
    """Faults and unsupported entries, collected while a tree is converted to types.

    Attributes:
        faults: (dotted location, sentence), all of them.
        unsupported: entries that are not registered yet, as ``kind name``.
    """

    faults: list[tuple[str, str]] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)

    def unknown(self, tree: dict[str, Any], known: Iterable[str], prefix: str = "") -> None:
        """Add a fault for every key that is not among ``known``."""
        self.faults += [(f"{prefix}{key}", f"unknown key {key!r}") for key in tree if key not in known]


def typed(model: type[Model], tree: Any, prefix: str, findings: Findings) -> Model | None:
    """Return the tree as ``model``; None, with faults in ``findings``, if it is invalid."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            findings.faults.append((".".join([prefix, *_as_written(item["loc"], tree)]), sentence(item)))
        return None


def _as_written(location: tuple[int | str, ...], tree: Any) -> Iterator[str]:
    """Yield a pydantic location without the items that validation adds: key marks and tags of unions."""
    for depth, name in enumerate(location, 1):
        known = isinstance(tree, dict) and name in tree
        if name == "[key]" or (isinstance(tree, dict) and not known and depth < len(location)):
            continue
        tree = tree[name] if known else None
        yield str(name)


def stream(tree: dict[str, Any], prefix: str, crop_prefix: str, findings: Findings) -> StreamSpec | None:
    """Return one stream of a stage with its options and names checked; None if it is invalid.

    Args:
        tree: data, augmentation, batch_total and crop.
        prefix: location of its data and augmentation.
        crop_prefix: location of its batch and crop.
        findings: collects the faults.
    """
    findings.unknown(tree, ("data", "augmentation", *_STREAM_KEYS), prefix)
    data = typed(DataSpec, tree["data"], f"{prefix}data", findings)
    augmentation = typed(AugmentationSpec, tree["augmentation"], f"{prefix}augmentation", findings)
    if data is not None:
        _dataset(data, f"{prefix}data", findings)
    own = {key: tree[key] for key in _STREAM_KEYS if key in tree}
    # Placeholders, so that batch and crop are checked even if the rest is invalid.
    rest = {"data": data or DataSpec(name="none"), "augmentation": augmentation or AugmentationSpec()}
    found = typed(StreamSpec, {**own, **rest}, crop_prefix, findings)
    return None if data is None or augmentation is None else found


def model(tree: dict[str, Any], prefix: str, findings: Findings) -> ModelSpec | None:
    """Return the network with the options of backbone and decoder checked; None if it is invalid."""
    tree = {key: value for key, value in tree.items() if key != "network"}  # the name of what is written out beside it
    found = typed(ModelSpec, tree, prefix, findings)
    options: dict[str, Choice | None] = {
        kind: choice(kind, tree[kind], f"{prefix}.{kind}", findings)
        for kind in ("backbone", "decoder")
        if kind in tree and (found is not None or isinstance(tree[kind], dict))
    }
    if found is None or None in options.values():
        return None
    return found.model_copy(update=options)


def choice(kind: str, tree: Any, prefix: str, findings: Findings) -> Choice | None:
    """Return a choice with its options checked and defaults dropped; unregistered names are noted as unsupported."""
    found = typed(Choice, tree, prefix, findings)
    if found is None or _is_slip(kind, found.name, f"{prefix}.name", findings):
        return None
    if not registry.is_registered(kind, found.name):
        findings.unsupported.append(f"{kind} {found.name}")
        return found
    options = typed(registry.options_of(kind, found.name), found.options, prefix, findings)
    if options is None:
        return None
    return Choice(name=found.name, options=options.canonical())


def _dataset(data: DataSpec, prefix: str, findings: Findings) -> None:
    """Check the names of data set and class table.

    Typing slips are faults, a class table that is not there yet is unsupported. A data set that is not there yet is
    left to ``Resolved.unsupported``, which knows if it is needed at all.
    """
    if _is_slip("dataset", data.name, f"{prefix}.name", findings):
        return
    if not registry.is_registered("dataset", data.name):
        return
    options: Any = registry.options_of("dataset", data.name)  # that of a faulty package is a fault of the recipe
    if data.classes is None:
        return
    facts = options()
    known = (facts.table, *facts.variants)
    if any(data.classes in _table_names(table) for table in known):
        return
    if any(_bare(data.classes) == _bare(table) for table in known):
        findings.unsupported.append(f"class table {data.classes}")
        return
    text = f"no class table {data.classes!r} for {data.name}; known: {', '.join(known)}"
    findings.faults.append((f"{prefix}.classes", text))


@cache
def _table_names(table: str) -> tuple[str, ...]:
    """Return a class table's name and aliases, from its file: far cheaper than importing the data room."""
    path = Path(registry.__file__).parents[1] / "data" / "tables" / f"{table}.yaml"
    return (table, *(load(path).data or {}).get("aliases", ()))


def _is_slip(kind: str, given: str, location: str, findings: Findings) -> bool:
    """Return True, and add a fault, if a name differs from a registered one by a letter or two.

    Names that differ only in digits (deeplabv2, deeplabv3) are different networks.
    """
    if registry.is_registered(kind, given):
        return False
    words = [name for name in registry.names(kind) if _letters(name) != _letters(given)]
    close = registry.close_names(given, words, limit=1, cutoff=0.85)
    if close:
        findings.faults.append((location, f"no {kind} {given!r}. Close: {close[0]}"))
    return bool(close)


def _letters(name: str) -> str:
    return re.sub(r"\d", "", name)


def _bare(table: str) -> str:
    """Return a class table's name without the number of its classes."""
    return re.sub(r"-\d+$", "", table)
