"""A data set that segbench knows and cannot read: facts without a reader."""

import contextlib
from collections.abc import Iterator
from types import ModuleType

from pydantic import Field

from segbench.core import registry
from segbench.data.facts import DatasetOptions


class Options(DatasetOptions):
    """As CamVid, so that its recipes can be told to take it."""

    title: str = "Unread"
    table: str = "camvid"
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (367,), "val": (101,), "test": (233,)})
    size_bytes: int = 1_000_000
    licence: str = "None."
    obtain: str = "There is no way to get it."


@contextlib.contextmanager
def unread_set() -> Iterator[str]:
    """Its name, while it is registered."""
    module = ModuleType("options")
    module.Options = Options  # type: ignore[attr-defined]
    registry.add("dataset", "unread", {"options": module})
    try:
        yield "unread"
    finally:
        registry.remove("dataset", "unread")
