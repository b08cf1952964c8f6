"""A parsed YAML file as a pydantic type; every fault with its line and in plain words."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .strict_yaml import Document

Model = TypeVar("Model", bound=BaseModel)


def parse(
    document: Document, model: type[Model], *, what: str = "the file", hidden: tuple[str, ...] = ()
) -> tuple[Model | None, list[str]]:
    """A document as a typed file, or None and its faults as ``file:line: sentence``.

    Args:
        document: what was read.
        model: the type of the whole file.
        what: what such a file is called, for the fault that it is no map.
        hidden: parts of a location that nobody has written, because the type puts them in.
    """
    faults = list(document.faults)
    if not isinstance(document.data, dict):
        return None, faults or [f"{document.path.name}: {what} is a map of keys"]
    try:
        parsed = model.model_validate(document.data)
    except ValidationError as error:
        # What the text got wrong is None or missing in the data and would be found a second time.
        named = {fault.split(": ")[0] for fault in faults}
        found = [describe(item, document, hidden=hidden) for item in error.errors(include_url=False)]
        return None, faults + [fault for fault in found if fault.split(": ")[0] not in named]
    return (None, faults) if faults else (parsed, [])


def describe(item: Any, document: Document, *, hidden: tuple[str, ...] = ()) -> str:
    """One pydantic error as one line with file, line and location."""
    location = tuple(str(part) for part in item["loc"] if part not in (*hidden, "[key]"))
    where = document.where(location)
    return ": ".join(part for part in (where, ".".join(location), sentence(item)) if part)


def sentence(item: Any) -> str:
    """One pydantic error in plain words."""
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
