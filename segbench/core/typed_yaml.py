"""Validation of a parsed YAML file against a pydantic model; every fault names its line."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .strict_yaml import Document

Model = TypeVar("Model", bound=BaseModel)


def parse(
    document: Document, model: type[Model], *, what: str = "the file", hidden: tuple[str, ...] = ()
) -> tuple[Model | None, list[str]]:
    """Return the document as a `model` and no faults, or None and its faults as ``file:line: sentence``.

    Args:
        document: parsed file.
        model: type of the whole file.
        what: name for such a file, used in the fault that it is not a map.
        hidden: components of a pydantic location that do not occur in the file, such as union tags.
    """
    faults = list(document.faults)
    if not isinstance(document.data, dict):
        return None, faults or [f"{document.path.name}: {what} is a map of keys"]
    try:
        parsed = model.model_validate(document.data)
    except ValidationError as error:
        # A fault of the text leaves None or a gap in the data, which pydantic would report a second time.
        named = {fault.split(": ")[0] for fault in faults}
        found = [describe(item, document, hidden=hidden) for item in error.errors(include_url=False)]
        return None, faults + [fault for fault in found if fault.split(": ")[0] not in named]
    return (None, faults) if faults else (parsed, [])


def describe(item: Any, document: Document, *, hidden: tuple[str, ...] = ()) -> str:
    """Return one pydantic error as a line with file, line and location."""
    location = tuple(str(key) for key in item["loc"] if key not in (*hidden, "[key]"))
    where = document.where(location)
    return ": ".join(filter(None, (where, ".".join(location), sentence(item))))


def sentence(item: Any) -> str:
    """Return the message of one pydantic error, in the vocabulary of YAML files."""
    name, kind = str(item["loc"][-1]) if item["loc"] else "", item["type"]
    if kind == "extra_forbidden":
        return f"unknown key {name!r}"
    if kind == "missing":
        return f"missing key {name!r}"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    given = repr(item.get("input"))
    given = given if len(given) <= 60 else f"{given[:57]}..."
    if kind in ("model_type", "dict_type"):
        return f"a map of keys is wanted, got {given}"
    message = str(item["msg"])
    return f"{message[0].lower()}{message[1:]}, got {given}"
