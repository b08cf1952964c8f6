"""Scaling a resolved tree to a budget; each change is a traced value and becomes a deviation by itself."""

import math
from typing import Any

from segbench.core import registry

from .protocol import Origin, Traced, deep_merge, flatten, is_section, pick, plain, put
from .schema import Budget

_STEP_FIELDS = ("schedule.validate_every", "schedule.policy.warmup_steps")


def apply(tree: dict[str, Any], name: str, budget: Budget) -> None:
    """Scale ``tree`` in place. Values that lie below a limit already stay as published.

    A stage, and a stream of a stage, is scaled by what it says itself; what it leaves to the table is scaled there.
    """
    origin = Origin(f"budget {name}", "budgets.yaml")
    factor = _factor(tree, budget)
    _scale(tree, budget, origin, factor)
    for stage in tree.get("stages", {}).values():
        _scale(stage, budget, origin, factor)
        for stream in stage.get("streams", {}).values():
            _stream(stream, budget, origin, factor)


def _scale(tree: dict[str, Any], budget: Budget, origin: Origin, factor: float) -> None:
    if "schedule" in tree:
        _shrink_sides(tree["schedule"], ("crop",), factor, origin)
        _shrink_batch(tree["schedule"], budget, origin)
        _shrink_steps(tree, budget, origin)
    if "data" in tree:
        _data(tree["data"], budget, origin, factor)
    if "evaluation" in tree:
        _shrink_sides(tree["evaluation"], ("window", "stride", "size"), factor, origin)
    for section in ("evaluation", "weights", "schedule"):
        if getattr(budget, section) and section in tree:
            _merge(tree, section, getattr(budget, section), origin)
    for path, by_name in (
        ("model.backbone", budget.backbones),
        ("model.decoder", budget.decoders),
        ("method", budget.methods),
    ):
        chosen = plain(pick(tree, f"{path}.name"))
        if chosen in by_name:
            _merge(tree, path, by_name[chosen], origin)


def _stream(stream: dict[str, Any], budget: Budget, origin: Origin, factor: float) -> None:
    _shrink_sides(stream, ("crop",), factor, origin)
    _shrink_batch(stream, budget, origin)
    if "data" in stream:
        _data(stream["data"], budget, origin, factor)


def _factor(tree: dict[str, Any], budget: Budget) -> float:
    """How much every side shrinks: images and crops by one factor, so that the field of view stays."""
    crop = plain(pick(tree, "schedule.crop"))
    if budget.max_crop_pixels is None or not crop:
        return 1.0
    return min(1.0, math.sqrt(budget.max_crop_pixels / (crop[0] * crop[1])))


def _data(data: dict[str, Any], budget: Budget, origin: Origin, factor: float) -> None:
    if budget.source == "generated":
        data["source"] = Traced("generated", origin)
    if budget.images is not None:
        data["images"] = Traced(budget.images, origin)
    if factor < 1 and "size" in data and plain(data["size"]):
        _shrink_sides(data, ("size",), factor, origin)
    elif factor < 1:
        scale = plain(data["scale"]) if "scale" in data else 1.0
        data["scale"] = Traced(round(scale * factor, 4), origin)


def _shrink_sides(section: dict[str, Any], names: tuple[str, ...], factor: float, origin: Origin) -> None:
    for name in names:
        sides = plain(section[name]) if name in section else None
        if factor < 1 and sides:
            section[name] = Traced([max(32, round(side * factor)) for side in sides], origin)


def _shrink_batch(section: dict[str, Any], budget: Budget, origin: Origin) -> None:
    batch = plain(section["batch_total"]) if "batch_total" in section else None
    if budget.max_batch is None or not batch or batch <= budget.max_batch:
        return
    section["batch_total"] = Traced(budget.max_batch, origin)
    lr = plain(pick(section, "optimizer.lr"))
    if budget.lr_with_batch and lr:
        put(section, "optimizer.lr", Traced(lr * budget.max_batch / batch, origin))


def _shrink_steps(tree: dict[str, Any], budget: Budget, origin: Origin) -> None:
    """Shrink the steps, and with them in proportion every field that counts steps."""
    steps = plain(pick(tree, "schedule.steps"))
    if budget.max_steps is None or not steps or steps <= budget.max_steps:
        return
    put(tree, "schedule.steps", Traced(budget.max_steps, origin))
    for path in _step_fields(tree):
        value = plain(pick(tree, path))
        if isinstance(value, int) and value:
            put(tree, path, Traced(max(1, round(value * budget.max_steps / steps)), origin))


def _step_fields(tree: dict[str, Any]) -> list[str]:
    """Dotted paths of every other value in the tree whose type, or whose name, says that it counts steps."""
    found = [path for path in _STEP_FIELDS if pick(tree, path) is not None]
    name = plain(pick(tree, "method.name"))
    registered = bool(name) and registry.is_registered("method", name)
    fields = registry.options_of("method", name).model_fields if registered else {}
    for path in flatten(tree.get("method", {})):
        extra = fields[path].json_schema_extra if path in fields else None
        counts = isinstance(extra, dict) and bool(extra.get("counts_steps"))
        if counts or (not registered and path.endswith("_steps")):
            found.append(f"method.{path}")
    return found


def _merge(tree: dict[str, Any], path: str, wanted: dict[str, Any], origin: Origin) -> None:
    def walk(value: Any) -> Any:
        if is_section(value):
            return {key: walk(inner) for key, inner in value.items()}
        return Traced(value, origin)

    put(tree, path, deep_merge(pick(tree, path), walk(wanted)))
