"""Scaling of a resolved tree to a budget; every change is a traced value, from which deviations follow."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from segbench.core import registry
from segbench.core.spec import ScheduleSpec

from .protocol import STAGE_SECTIONS
from .schema import Budget
from .tree import Origin, Traced, deep_merge, flatten, is_section, pick, plain, put

_MIN_SIDE = 32
_ENTRIES = {"model.backbone": "backbone", "model.decoder": "decoder", "method": "method"}
_STREAM = {"data": "data", "crop": "schedule.crop", "batch_total": "schedule.batch_total"}

Values = dict[str, Any]


def apply(tree: dict[str, Any], budget: Budget, origin: Origin) -> None:
    """Scale a valid tree in place. Values below a limit are kept as published.

    A stage or stream is scaled together with the values that it inherits; only values that differ from those of the
    scaled table are written into it.
    """
    published = plain(tree)
    factor = _factor(published, budget)
    _write(tree, published, _wanted(published, budget, factor), origin)
    common, below = _common(published), _common(plain(tree))
    for name, stage in tree.get("stages", {}).items():
        was = deep_merge(common, published["stages"][name])
        _write(stage, deep_merge(below, plain(stage)), _wanted(was, budget, factor), origin)
        now = deep_merge(below, plain(stage))
        for stream, own in stage.get("streams", {}).items():
            whole = deep_merge(_of_stream(was), was["streams"][stream])
            wanted = _under("data", _data(whole["data"], budget, factor)) | _crop_and_batch(whole, budget, factor)
            wanted |= _under("augmentation", _augmentation(whole.get("augmentation", {}), budget))
            _write(own, deep_merge(_of_stream(now), plain(own)), wanted, origin)


def _write(tree: dict[str, Any], now: Values, wanted: Values, origin: Origin) -> None:
    for path, value in wanted.items():
        if pick(now, path) != value:
            put(tree, path, _traced(value, origin))


def _traced(value: Any, origin: Origin) -> Any:
    if is_section(value):
        return {key: _traced(inner, origin) for key, inner in value.items()}
    return Traced(value, origin)


def _common(tree: Values) -> Values:
    return {key: tree[key] for key in STAGE_SECTIONS if key in tree}


def _of_stream(tree: Values) -> Values:
    """Return the settings that a stream inherits from its stage."""
    found = {name: pick(tree, path) for name, path in _STREAM.items()}
    return {name: value for name, value in found.items() if value is not None}


def _factor(tree: Values, budget: Budget) -> float:
    """Return the factor of every side. Images and crops share it, so that the field of view is kept."""
    crops = [value for path, value in flatten(tree).items() if path.endswith(".crop") and value]
    if budget.max_crop_pixels is None or not crops:
        return 1.0
    return min(1.0, math.sqrt(budget.max_crop_pixels / max(int(crop[0]) * int(crop[1]) for crop in crops)))


def _wanted(tree: Values, budget: Budget, factor: float) -> Values:
    """Return every value that the budget sets in a table or a whole stage, by dotted path."""
    wanted: Values = {}
    if "data" in tree:
        wanted |= _under("data", _data(tree["data"], budget, factor))
    if "schedule" in tree:
        wanted |= _under("schedule", _crop_and_batch(tree["schedule"], budget, factor))
        wanted |= _steps(tree, budget)
        if budget.optimizer:
            wanted["schedule.optimizer"] = dict(budget.optimizer)
    if "augmentation" in tree:
        wanted |= _under("augmentation", _augmentation(tree["augmentation"], budget))
    if "evaluation" in tree:
        wanted |= _evaluation(tree["evaluation"], budget, factor)
    fixed: Values = {name: getattr(budget, name) for name in ("evaluation", "weights", "schedule") if name in tree}
    fixed |= {path: _limits(kind, pick(tree, f"{path}.name"), budget) for path, kind in _ENTRIES.items()}
    for section, values in fixed.items():
        for path, value in flatten(values, f"{section}.").items():
            wanted[path] = _at_most(pick(tree, path), value)
    return wanted | _norms(tree, budget)


def _limits(kind: str, name: Any, budget: Budget) -> Mapping[str, Any]:
    """Return what the budget sets in the options of a registered backbone, decoder or method."""
    if budget.options is None or not registry.is_registered(kind, str(name)):
        return {}
    options = registry.options_of(kind, str(name))
    return copy.deepcopy(dict(options.SMALL if budget.options == "small" else options.SMOKE))


def _norms(tree: Values, budget: Budget) -> Values:
    """Raise the momentum of batch norms: in few steps a slow running mean stays at that of the initial weights."""
    wanted: Values = {}
    for kind in ("backbone", "decoder"):
        path, name = f"model.{kind}.bn_momentum", str(pick(tree, f"model.{kind}.name"))
        momentum = pick(tree, path)
        if momentum is None and registry.is_registered(kind, name):
            field = registry.options_of(kind, name).model_fields.get("bn_momentum")
            momentum = None if field is None else field.default
        if budget.min_bn_momentum is not None and momentum is not None and momentum < budget.min_bn_momentum:
            wanted[path] = budget.min_bn_momentum
    return wanted


def _at_most(published: Any, limit: Any) -> Any:
    both = [value for value in (published, limit) if isinstance(value, int | float) and not isinstance(value, bool)]
    return min(both) if len(both) == 2 else limit


def _data(data: Values, budget: Budget, factor: float) -> Values:
    """Return the fields of scaled images."""
    wanted: Values = {}
    if budget.source == "generated":
        wanted["source"] = "generated"
    if budget.images is not None:
        wanted["images"] = _at_most(data.get("images"), budget.images)
    if budget.source == "generated" and "images" in wanted and pick(data, "subset.count"):
        wanted["subset.count"] = _labelled(data, wanted["images"], budget)
    if factor < 1 and data.get("size"):
        wanted["size"] = _shrunk(data["size"], factor)
    elif factor < 1:
        wanted["scale"] = round(float(data.get("scale", 1.0)) * factor, 4)
    return wanted


def _labelled(data: Values, images: int, budget: Budget) -> int:
    """Return the number of labelled scenes: the same fraction as of the real images, at least a batch, never all."""
    count, name, splits = int(pick(data, "subset.count")), str(data.get("name")), {}
    if registry.is_registered("dataset", name):
        facts: Any = registry.options_of("dataset", name)()
        splits = facts.splits
    real = sum(splits[split][0] for split in data.get("splits", ["train"]) if split in splits)
    share = round(count * images / real) if real else 0
    return max(1, min(count, images - 1, max(share, budget.max_batch or 1)))


def _evaluation(evaluation: Values, budget: Budget, factor: float) -> Values:
    images = _data(evaluation, budget, factor)
    wanted = {name: value for name, value in images.items() if evaluation.get(name) is not None}
    for name in ("window", "stride"):
        if factor < 1 and evaluation.get(name):
            wanted[name] = _shrunk(evaluation[name], factor)
    return _under("evaluation", wanted)


def _under(section: str, values: Values) -> Values:
    return {f"{section}.{name}": value for name, value in values.items()}


def _crop_and_batch(tree: Values, budget: Budget, factor: float) -> Values:
    wanted: Values = {}
    if factor < 1 and tree.get("crop"):
        wanted["crop"] = _shrunk(tree["crop"], factor)
    if budget.max_batch is not None and tree.get("batch_total"):
        wanted["batch_total"] = min(budget.max_batch, int(tree["batch_total"]))
    return wanted


def _shrunk(sides: Any, factor: float) -> list[int]:
    # Rounded down to stay below the limit; the small number makes up for 0.5 * 360 = 179.999...
    return [max(min(_MIN_SIDE, int(side)), math.floor(int(side) * factor + 1e-6)) for side in sides]


def _augmentation(augmentation: Values, budget: Budget) -> Values:
    """Narrow the range of scales: with few steps training images have to be close to those of the evaluation."""
    scale = augmentation.get("scale")
    if budget.scale_range is None or not scale:
        return {}
    low, high = budget.scale_range
    return {"scale": [max(low, float(scale[0])), min(high, float(scale[1]))]}


def _steps(tree: Values, budget: Budget) -> Values:
    """Reduce the steps and, in proportion, every field whose type, or else whose name, says that it counts steps."""
    steps = int(pick(tree, "schedule.steps", 0))
    if budget.max_steps is None or not steps:
        return {}
    share = min(1.0, budget.max_steps / steps)
    wanted: Values = {"schedule.steps": min(steps, budget.max_steps)}
    for path in _counting(tree):
        value = pick(tree, path)
        if isinstance(value, int) and value:
            wanted[path] = max(1, round(value * share))
    return wanted


def _counting(tree: Values) -> Iterator[str]:
    """Yield the dotted paths of the fields that count steps, besides the steps themselves."""
    yield from (path for path in _fields(ScheduleSpec, "schedule.") if path != "schedule.steps")
    name = pick(tree, "method.name")
    if name and registry.is_registered("method", name):
        yield from _fields(registry.options_of("method", name), "method.")
    else:
        yield from (f"method.{path}" for path in flatten(tree.get("method", {})) if path.endswith("_steps"))


def _fields(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("counts_steps"):
            yield f"{prefix}{name}"
        elif isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _fields(info.annotation, f"{prefix}{name}.")
