"""Find the family of a checkpoint, and the network that its tensors belong to."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from segbench.core.errors import InvalidFault

from . import families
from .family import Family, ForeignCheckpoint, Metadata, StateDict

if TYPE_CHECKING:
    from torch import Tensor

_LOSSES = ("loss", "criterion", "metric")  # modules that programs keep beside a network
_WHOLE_FILE = "segbench eval --checkpoint FILE, with the whole file as its project saved it"


def recognise(
    state: StateDict, *, source: str, family: str | None = None, metadata: Metadata | None = None
) -> ForeignCheckpoint:
    """Recognise a checkpoint by the names and shapes of its tensors.

    Args:
        state: names to tensors.
        source: the file, for messages.
        family: name of the family, where the user says it.
        metadata: plain data beside the tensors, by key.

    Raises:
        UsageFault: there is no family of that name.
        InvalidFault: no family has this layout, several have, or it is not the layout of the named family.
    """
    known = families.registered()
    named = None if family is None else families.get(family)
    found = [each for each in known.values() if each.detect(state)]
    names = [each.name for each in found]
    if not found and (nested := _nested(state, source)) is not None:
        return _read_nested(state, *nested, source=source, family=family, metadata=metadata)
    if named is not None:
        if named.name in names or not found or named.lookalike_of in names:
            return _read(named, state, source, metadata or {}, laid_out=bool(found))
        raise InvalidFault(
            f"{source} is laid out as {', '.join(names)}, not as {family}.",
            next=f"segbench eval --checkpoint {source} --family {names[0]}",
        )
    if not found:
        shown = ", ".join(list(state)[:3])
        raise InvalidFault(
            f"{source} is of none of the known families ({', '.join(known)}); its tensors begin {shown}.",
            next="segbench eval --checkpoint FILE --model MODULE:FUNCTION, with the code of your own network",
        )
    if len(found) > 1:
        raise InvalidFault(
            f"{source} could be of {' or '.join(names)}.",
            next=f"segbench eval --checkpoint {source} --family {names[0]}",
        )
    return _read(found[0], state, source, metadata or {})


def _nested(state: StateDict, source: str) -> "tuple[str, dict[str, Tensor]] | None":
    """Return the prefix of a network of a known family among the tensors, and its tensors without it; None if none.

    Programs that train networks inside something larger save them under a name, such as ``model.`` or ``student.``.

    Raises:
        InvalidFault: there are several.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        first, dot, rest = name.partition(".")
        if dot:
            groups.setdefault(f"{first}.", {})[rest] = tensor
    known = families.registered().values()
    found = [prefix for prefix, inside in groups.items() if any(family.detect(inside) for family in known)]
    if len(found) > 1:
        names = " and ".join(prefix.removesuffix(".") for prefix in found)
        raise InvalidFault(
            f"{source} holds several networks, {names}; it is not known which one is meant.",
            next="segbench eval --checkpoint FILE, with one of them alone",
        )
    return (found[0], groups[found[0]]) if found else None


def _read_nested(
    state: StateDict,
    prefix: str,
    inside: StateDict,
    *,
    source: str,
    family: str | None,
    metadata: Metadata | None,
) -> ForeignCheckpoint:
    found = recognise(inside, source=source, family=family, metadata=metadata)
    outside = {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
    losses = tuple(name for name in outside if name.startswith(_LOSSES))
    # The rest may belong to the network: strict loading reports it.
    rest = {name: tensor for name, tensor in outside.items() if name not in losses}
    dropped = (*(f"{prefix}{name}" for name in found.dropped), *losses)
    return replace(found, tensors={**found.tensors, **rest}, dropped=dropped)


def _read(
    family: Family, state: StateDict, source: str, metadata: Mapping[str, object], *, laid_out: bool = True
) -> ForeignCheckpoint:
    layout = (
        f"{source} is laid out as {family.name}, but" if laid_out else f"{source} is not laid out as {family.name}:"
    )
    try:
        checkpoint = family.read(state)
    except KeyError as error:
        raise InvalidFault(
            f"{layout} {'is incomplete: ' if laid_out else ''}{error} is missing.", next=_WHOLE_FILE
        ) from error
    except (IndexError, ValueError, ArithmeticError) as error:  # too few dimensions, or a module too many
        raise InvalidFault(
            f"{layout} a tensor in it has a form or a name that is not used there.", next=_WHOLE_FILE
        ) from error
    own = {key: metadata[key] for key in family.metadata_keys if key in metadata}
    return checkpoint if family.refine is None or not own else family.refine(checkpoint, own)
