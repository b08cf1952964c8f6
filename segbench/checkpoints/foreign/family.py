"""What a module of ``families`` offers, and which family a checkpoint belongs to.

A family module has

- ``TITLE``: the project, as people call it;
- ``detect(state) -> bool``: whether these tensors are laid out as that project's (names first, shapes if need be);
- ``read(state) -> Foreign``: which network they belong to, and the tensors under segbench's names;
- optionally ``settle(foreign, meta) -> Foreign``: what tensors cannot show, from the words that lie beside them;
- optionally ``write(state, model) -> dict``: the way back, from segbench's names to the project's;
- optionally ``FILE_NAME`` and ``beside(model, classes) -> dict``, where its programs load folders: what the file of
  weights is called there, and the texts that lie beside it by name;
- optionally ``ALIKE``: the family whose files look the same, where only the user can say that it is this one.

``state`` maps names to tensors, wrappers and the prefixes of data-parallel training already gone. A family never
guesses a layer that is not there: what it cannot place stays in ``tensors`` under its own name, and strict loading
names it.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import ModuleType
from typing import Any

from torch import Tensor

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import choices
from segbench.core.spec import ModelSpec

from . import families

State = Mapping[str, Tensor]
# What people call some of them.
_SHORT = {"mmseg": "mmsegmentation", "hf": "huggingface", "transformers": "huggingface", "nvidia": "nvlabs"}
_LOSSES = ("loss", "criterion", "metric")  # what programs keep beside a network
_WHOLE_FILE = "segbench eval --checkpoint FILE, with the whole file as its project saved it"


@dataclass(frozen=True)
class Foreign:
    """A checkpoint of another project, understood.

    Attributes:
        family: name of the family's module, with dashes.
        title: the network in its project's words, e.g. ``official HRNet-OCR``.
        model: the network with the project's conventions: channel order, mean and std, align_corners.
        num_classes: outputs of the classifier.
        tensors: under segbench's names.
        dropped: the file's names of tensors left out on purpose, such as those of losses and projection heads.
        notes: what a user should know of it, one sentence each.
        protocol: how the project scores it: fields of an evaluation spec, e.g. ``{"mode": "slide", ...}``.
        classes: their names in the order of the outputs, as the file states them; empty where it does not.
    """

    family: str
    title: str
    model: ModelSpec
    num_classes: int
    tensors: dict[str, Tensor]
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    protocol: dict[str, object] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


@cache
def family_names() -> tuple[str, ...]:
    """All families, sorted."""
    return tuple(sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(families.__path__)))


def family(name: str) -> ModuleType:
    """The module of a family.

    Raises:
        UsageFault: there is no such family.
    """
    if name not in family_names():
        begun = [each for each in family_names() if _SHORT.get(name) == each or (name and each.startswith(name))]
        hint = f"Close: {', '.join(begun)}" if begun else choices(name, family_names())
        raise UsageFault(f"No checkpoint family {name!r}. {hint}.", next="segbench eval --help")
    return importlib.import_module(f"{families.__name__}.{name.replace('-', '_')}")


def recognise(state: State, *, source: str, name: str | None = None, meta: Mapping[str, Any] | None = None) -> Foreign:
    """Find out whose checkpoint this is.

    Args:
        state: names to tensors.
        source: the file, for messages.
        name: the family, where the user says it.
        meta: what lies beside the tensors, plain data.

    Raises:
        UsageFault: there is no family of that name.
        InvalidFault: no family knows this layout, several do, or it is not the family that was named.
    """
    found = [each for each in family_names() if family(each).detect(state)]
    if name is not None:
        family(name)
    if not found and (within := _within(state, source)) is not None:
        prefix, inside = within
        foreign = recognise(inside, source=source, name=name, meta=meta)
        beside = {each: tensor for each, tensor in state.items() if not each.startswith(prefix)}
        losses = tuple(each for each in beside if each.startswith(_LOSSES))
        rest = {each: tensor for each, tensor in beside.items() if each not in losses}
        # what else there is may be a part of the network: strict loading names it
        dropped = (*(f"{prefix}{each}" for each in foreign.dropped), *losses)
        return replace(foreign, tensors={**foreign.tensors, **rest}, dropped=dropped)
    if name is not None:
        if name in found or not found or getattr(family(name), "ALIKE", None) in found:
            return _read(name, state, source, meta or {}, laid_out=bool(found))
        raise InvalidFault(
            f"{source} is laid out as {', '.join(found)}, not as {name}.",
            next=f"segbench eval --checkpoint {source} --family {found[0]}",
        )
    if not found:
        shown = ", ".join(list(state)[:3])
        raise InvalidFault(
            f"{source} is of none of the known families ({', '.join(family_names())}); its tensors begin {shown}.",
            next="segbench eval --checkpoint FILE --model MODULE:FUNCTION, with the code of your own network",
        )
    if len(found) > 1:
        raise InvalidFault(
            f"{source} could be of {' or '.join(found)}.",
            next=f"segbench eval --checkpoint {source} --family {found[0]}",
        )
    return _read(found[0], state, source, meta or {})


def _within(state: State, source: str) -> tuple[str, dict[str, Tensor]] | None:
    """The part of the tensors that is a network of a known family, where a wrapper has given their names a prefix.

    Programs that train networks as a part of something larger save it under a name, such as ``model.`` or ``student.``.

    Returns:
        The prefix, and the tensors without it; None if there is no such part.

    Raises:
        InvalidFault: there are several.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for each, tensor in state.items():
        first, dot, rest = each.partition(".")
        if dot:
            parts.setdefault(f"{first}.", {})[rest] = tensor
    known = [prefix for prefix, inside in parts.items() if any(family(each).detect(inside) for each in family_names())]
    if len(known) > 1:
        names = " and ".join(prefix.removesuffix(".") for prefix in known)
        raise InvalidFault(
            f"{source} holds several networks, {names}; which one is meant is not known.",
            next="segbench eval --checkpoint FILE, with one of them alone",
        )
    return (known[0], parts[known[0]]) if known else None


def _read(name: str, state: State, source: str, meta: Mapping[str, Any], *, laid_out: bool = True) -> Foreign:
    module = family(name)
    is_theirs = f"{source} is laid out as {name}, but" if laid_out else f"{source} is not laid out as {name}:"
    try:
        foreign: Foreign = module.read(state)
    except KeyError as error:
        raise InvalidFault(
            f"{is_theirs} {'is not whole: ' if laid_out else ''}{error} is missing.", next=_WHOLE_FILE
        ) from error
    except (IndexError, ValueError, ArithmeticError) as error:  # of too few dimensions or none, or a module too many
        raise InvalidFault(
            f"{is_theirs} a tensor in it has a form or a name that is not used there.",
            next=_WHOLE_FILE,
        ) from error
    settle = getattr(module, "settle", None)
    return foreign if settle is None or not meta else settle(foreign, meta)
