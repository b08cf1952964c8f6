"""Scaling a resolved tree to a budget; each change is a traced value and becomes a deviation by itself."""

import math
from typing import Any

from ..core import registry
from .protocol import Origin, Traced, deep_merge, flatten, is_section, pick, plain, put
from .schema import Budget


def apply(tree: dict[str, Any], name: str, budget: Budget) -> None:
    """Scale ``tree`` in place. Values that lie below a limit already stay as published."""
    origin = Origin(f"budget {name}", "budgets.yaml")

    def change(path: str, value: Any) -> None:
        put(tree, path, Traced(value, origin))

    _crop(tree, budget, change)
    _steps(tree, budget, change)
    _batch(tree, budget, change)
    if "data" in tree:
        if budget.source == "generated":
            change("data.source", "generated")
        if budget.images is not None:
            change("data.images", budget.images)
    for section in ("evaluation", "weights", "schedule"):
        wanted = getattr(budget, section)
        if wanted and section in tree:
            _merge(tree, section, wanted, origin)
    for path, by_name in (
        ("model.backbone", budget.backbones),
        ("model.decoder", budget.decoders),
        ("method", budget.methods),
    ):
        chosen = plain(pick(tree, f"{path}.name"))
        if chosen in by_name:
            _merge(tree, path, by_name[chosen], origin)


def _merge(tree: dict[str, Any], path: str, wanted: dict[str, Any], origin: Origin) -> None:
    def walk(value: Any) -> Any:
        if is_section(value) and value:
            return {key: walk(inner) for key, inner in value.items()}
        return Traced(value, origin)

    put(tree, path, deep_merge(pick(tree, path), walk(wanted)))


def _crop(tree: dict[str, Any], budget: Budget, change: Any) -> None:
    """Shrink images and crops by one factor, so that the field of view stays."""
    crop = plain(pick(tree, "schedule.crop"))
    if budget.max_crop_pixels is None or not crop:
        return
    factor = math.sqrt(budget.max_crop_pixels / (crop[0] * crop[1]))
    if factor >= 1:
        return
    change("schedule.crop", [max(32, round(side * factor)) for side in crop])
    size = plain(pick(tree, "data.size"))
    if size:
        change("data.size", [max(32, round(side * factor)) for side in size])
    else:
        change("data.scale", round(plain(pick(tree, "data.scale", 1.0)) * factor, 4))
    for path in ("evaluation.window", "evaluation.stride", "evaluation.size"):
        sides = plain(pick(tree, path))
        if sides:
            change(path, [max(32, round(side * factor)) for side in sides])


def _steps(tree: dict[str, Any], budget: Budget, change: Any) -> None:
    """Shrink the steps, and with them in proportion every field that counts steps."""
    steps = plain(pick(tree, "schedule.steps"))
    if budget.max_steps is None or not steps or steps <= budget.max_steps:
        return
    ratio = budget.max_steps / steps
    change("schedule.steps", budget.max_steps)
    for path in _step_fields(tree):
        value = plain(pick(tree, path))
        if isinstance(value, int) and value and path != "schedule.steps":
            change(path, max(1, round(value * ratio)))


def _step_fields(tree: dict[str, Any]) -> list[str]:
    """Dotted paths of every other value in the tree whose type says that it counts steps."""
    found = [path for path in ("schedule.validate_every", "schedule.policy.warmup_steps") if pick(tree, path)]
    name = plain(pick(tree, "method.name"))
    if name and registry.is_registered("method", name):
        fields = registry.options_of("method", name).model_fields  # type: ignore[attr-defined]
        for path in flatten(tree.get("method", {})):
            info = fields.get(path)
            if info is not None and (info.json_schema_extra or {}).get("counts_steps"):
                found.append(f"method.{path}")
    return found


def _batch(tree: dict[str, Any], budget: Budget, change: Any) -> None:
    batch = plain(pick(tree, "schedule.batch_total"))
    if budget.max_batch is None or not batch or batch <= budget.max_batch:
        return
    change("schedule.batch_total", budget.max_batch)
    lr = plain(pick(tree, "schedule.optimizer.lr"))
    if budget.lr_with_batch and lr:
        change("schedule.optimizer.lr", lr * budget.max_batch / batch)
