"""What a module of ``families`` offers, and which family a checkpoint belongs to.

A family module has

- ``TITLE``: the project, as people call it;
- ``detect(state) -> bool``: whether these tensors are laid out as that project's (names first, shapes if need be);
- ``read(state) -> Foreign``: which network they belong to, and the tensors under segbench's names;
- optionally ``write(state, model) -> dict``: the way back, from segbench's names to the project's;
- optionally ``ALIKE``: the family whose files look the same, where only the user can say that it is this one.

``state`` maps names to tensors, wrappers and the prefixes of data-parallel training already gone. A family never
guesses a layer that is not there: what it cannot place stays in ``tensors`` under its own name, and strict loading
names it.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType

from torch import Tensor

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import close_names
from segbench.core.spec import ModelSpec

from . import families

State = Mapping[str, Tensor]


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
    """

    family: str
    title: str
    model: ModelSpec
    num_classes: int
    tensors: dict[str, Tensor]
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    protocol: dict[str, object] = field(default_factory=dict)


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
        close = close_names(name, family_names()) or list(family_names())
        raise UsageFault(f"No checkpoint family {name!r}. Known: {', '.join(close)}.", next="segbench eval --help")
    return importlib.import_module(f"{families.__name__}.{name.replace('-', '_')}")


def recognise(state: State, *, source: str, name: str | None = None) -> Foreign:
    """Find out whose checkpoint this is.

    Args:
        state: names to tensors.
        source: the file, for messages.
        name: the family, where the user says it.

    Raises:
        UsageFault: there is no family of that name.
        InvalidFault: no family knows this layout, several do, or it is not the family that was named.
    """
    found = [each for each in family_names() if family(each).detect(state)]
    if name is not None:
        if name in found or not found or getattr(family(name), "ALIKE", None) in found:
            return _read(name, state, source)
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
    return _read(found[0], state, source)


def _read(name: str, state: State, source: str) -> Foreign:
    try:
        return family(name).read(state)
    except (KeyError, IndexError) as error:
        raise InvalidFault(
            f"{source} is laid out as {name}, but is not whole: {error} is missing.", next="segbench weights list"
        ) from error
