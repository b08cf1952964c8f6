"""Differences between what ran and the published protocol, found by the program."""

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from segbench.core import registry
from segbench.core.spec import Choice, Spec

from .protocol import Protocol


@dataclass(frozen=True)
class Deviation:
    """One difference. A material one forbids comparing the result with the publication."""

    path: str
    published: Any
    ran: Any
    material: bool

    def __str__(self) -> str:
        name = self.path.split(".")[-1].replace("_", " ")
        parent = self.path.split(".")[-2] if "." in self.path else ""
        if name in ("name", "backbone") or parent in ("evaluation", "backbone", "decoder", "method"):
            name = f"{parent} {name}".strip()
        if _is_number(self.published) and _is_number(self.ran):
            return f"{name} {_text(self.ran)} of {_text(self.published)}"
        if _is_size(self.published) and _is_size(self.ran):
            return f"{name} {_text(self.ran)} of {_text(self.published)}"
        if self.published is None:
            return f"{name} {_text(self.ran)}"
        return f"{name} {_text(self.ran)} instead of {_text(self.published)}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "says": str(self)}


def between(published: Protocol, ran: Protocol) -> list[Deviation]:
    """All differences between two typed protocols, stage by stage."""
    found: list[Deviation] = []
    if published.training is not None and ran.training is not None:
        many = len(published.training.stages) > 1
        for ours, theirs in zip(ran.training.stages, published.training.stages, strict=True):
            prefix = f"{theirs.name}." if many else ""
            for name, stream in theirs.streams.items():
                inner = f"{prefix}{name}." if len(theirs.streams) > 1 else prefix
                found += _walk(stream, ours.streams[name], inner)
            for section in ("model", "weights", "method", "schedule"):
                found += _walk(getattr(theirs, section), getattr(ours, section), f"{prefix}{section}.", section)
    if published.evaluation is not None and ran.evaluation is not None:
        found += _evaluation(published.evaluation, ran.evaluation)
    return found


def _evaluation(published: Spec, ran: Spec) -> list[Deviation]:
    deviations = _walk(published, ran, "evaluation.")
    # Scale, size and source of the images repeat what the training's data say already.
    repeated = (
        "evaluation.data.scale",
        "evaluation.data.size",
        "evaluation.data.source",
        "evaluation.data.images",
    )
    return [deviation for deviation in deviations if deviation.path not in repeated]


def _walk(published: Any, ran: Any, prefix: str, kind: str = "") -> list[Deviation]:
    if isinstance(published, Choice) and isinstance(ran, Choice):
        return _choices(published, ran, prefix, kind)
    found: list[Deviation] = []
    for name, info in type(published).model_fields.items():
        theirs, ours = getattr(published, name), getattr(ran, name)
        if theirs == ours:
            continue
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        if isinstance(theirs, BaseModel) and isinstance(ours, BaseModel):
            found += _walk(theirs, ours, f"{prefix}{name}.", name)
        else:
            found.append(Deviation(f"{prefix}{name}", _plain(theirs), _plain(ours), bool(extra.get("material", True))))
    return found


def _choices(published: Choice, ran: Choice, prefix: str, kind: str) -> list[Deviation]:
    if published.name != ran.name:
        return [Deviation(f"{prefix}name", published.name, ran.name, True)]
    if not registry.is_registered(kind, published.name):
        names = sorted({*published.options, *ran.options})
        return [
            Deviation(f"{prefix}{name}", published.options.get(name), ran.options.get(name), True)
            for name in names
            if published.options.get(name) != ran.options.get(name)
        ]
    options = registry.options_of(kind, published.name)
    return _walk(options.model_validate(published.options), options.model_validate(ran.options), prefix)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    return list(value) if isinstance(value, tuple) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) for side in value)


def _text(value: Any) -> str:
    if _is_size(value):
        return f"{value[0]}x{value[1]}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "/".join(_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return "none" if value is None else str(value)
