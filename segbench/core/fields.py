"""What every spec is made of: frozen types with ids, and fields that know what a difference in them means."""

import hashlib
import json
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Size = tuple[int, int]  # (height, width) in pixels


class Spec(BaseModel):
    """Frozen, closed base of every spec and option type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def canonical(self) -> dict[str, Any]:
        """Plain JSON data, fields that keep their default left out."""
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True)

    def id(self, *, length: int = 12) -> str:
        """Hexadecimal digest of the canonical JSON."""
        return digest(self.canonical(), length=length)


class Options(Spec):
    """Base of what a registered method, decoder or backbone can be told (without its name).

    Attributes:
        across_images: of a method, what it makes of all images that it is given at once, in words; its losses on parts
            of a batch then do not add up to those on the batch. Empty: they do.
        can_emit: of a method, the values of a stage's ``emits`` that it serves.
    """

    across_images: ClassVar[tuple[str, ...]] = ()
    can_emit: ClassVar[tuple[str, ...]] = ("weights",)

    def needs_stages(self) -> tuple[str, ...]:
        """Names of the earlier stages whose networks and pseudo-labels a method so configured is handed."""
        return ()

    def across_images_of(self, images: int) -> dict[str, tuple[int, ...]]:
        """What a method so told makes of several images, in words, and of how many each time, given so many at once."""
        return dict.fromkeys(self.across_images, (images,))

    def unread(self) -> frozenset[str]:
        """Names of the fields that mean nothing beside the values of the others: a change of one changes no result."""
        return frozenset()


def digest(data: Any, *, length: int = 12) -> str:
    """First ``length`` hexadecimal digits of the SHA-256 of ``data`` as canonical JSON."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def setting(default: Any = ..., *, material: bool = True, counts_steps: bool = False, **constraints: Any) -> Any:
    """A field of a spec.

    Args:
        default: the value when nothing is said; ``...`` for a required field.
        material: whether a difference forbids comparing the result with the publication.
        counts_steps: whether the value counts optimiser steps and shrinks with a budget.
        **constraints: passed to pydantic (``gt``, ``ge``, ``le``, ``description`` ...).
    """
    extra: dict[str, Any] = {"material": material, "counts_steps": counts_steps}
    return Field(default, json_schema_extra=extra, **constraints)
