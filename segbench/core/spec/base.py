"""Base types of all specs: frozen models with ids, and fields that carry the meaning of a difference."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Size = tuple[int, int]  # (height, width) in pixels


class Spec(BaseModel):
    """Frozen, closed base of every spec and option type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def canonical(self) -> dict[str, Any]:
        """Return plain JSON data without the fields that keep their default."""
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True)

    def id(self, *, length: int = 12) -> str:
        """Return the hexadecimal digest of the canonical JSON."""
        return digest(self.canonical(), length=length)


class Options(Spec):
    """Base of the options of a registered method, decoder or backbone (without its name).

    Attributes:
        SMALL: option values of the small budget, for backbones, decoders and methods. A number is an upper limit: a
            smaller published value is kept. Anything else replaces the published value.
        SMOKE: the same for the smoke budget.
        across_images: names of the quantities that a method computes over all images of a forward pass, so that its
            losses on micro-batches do not add up to the loss of the batch. Empty: they do.
        validates: False if a method trains no classifier, so that scores of its network would mean nothing.
        whole_batches: why a method needs all images of a batch in one forward pass; None: micro-batches are possible.
    """

    SMALL: ClassVar[Mapping[str, Any]] = {}
    SMOKE: ClassVar[Mapping[str, Any]] = {}
    across_images: ClassVar[tuple[str, ...]] = ()
    validates: ClassVar[bool] = True
    whole_batches: ClassVar[str | None] = None

    def across_images_of(self, images: int) -> dict[str, tuple[int, ...]]:
        """Return for each quantity computed over several images the group sizes into which ``images`` are divided."""
        return dict.fromkeys(self.across_images, (images,))

    def needs_stages(self) -> tuple[str, ...]:
        """Return the names of the earlier stages whose networks a method is handed."""
        return ()

    def unread(self) -> frozenset[str]:
        """Return the names of the fields that are ignored, given the values of the others."""
        return frozenset()


def digest(data: Any, *, length: int = 12) -> str:
    """Return the first ``length`` hexadecimal digits of the SHA-256 of ``data`` as canonical JSON."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def setting(default: Any = ..., *, material: bool = True, counts_steps: bool = False, **constraints: Any) -> Any:
    """Return a pydantic field of a spec.

    Args:
        default: the default; ``...`` for a required field.
        material: True if a difference makes the result incomparable with the publication.
        counts_steps: True if the value counts optimizer steps and is scaled by a budget.
        **constraints: passed to ``pydantic.Field`` (``gt``, ``ge``, ``le``, ``description`` ...).
    """
    extra: dict[str, Any] = {"material": material, "counts_steps": counts_steps}
    return Field(default, json_schema_extra=extra, **constraints)
