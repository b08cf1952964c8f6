"""A protocol: everything that decides a number, as types, built from the plain tree that resolving leaves."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from segbench.core.micro_batch import cut_fault
from segbench.core.spec import CostSpec, EvaluationSpec, ScheduleSpec, StageSpec, TrainingSpec, WeightsSpec

from . import parts
from .schema import SECTIONS

STREAM = "labelled"
STAGE_SECTIONS = ("data", "augmentation", "model", "weights", "method", "schedule")
_STAGE_KEYS = (*STAGE_SECTIONS, "from", "emits", "streams")
_EVALUATION_DATA = ("scale", "size", "resize", "source", "images")


@dataclass
class Protocol(parts.Findings):
    """A typed protocol, or what forbids it.

    Attributes:
        training: None where the row trains nothing here (a mere count), or where there are faults.
        evaluation: None likewise.
        cost: what is counted, for rows of exact figures.
    """

    training: TrainingSpec | None = None
    evaluation: EvaluationSpec | None = None
    cost: CostSpec | None = None


def build(tree: dict[str, Any], *, seed: int = 0) -> Protocol:
    """The typed protocol of a resolved tree; every fault is collected with its dotted location.

    What several stages or streams take from the table is a fault of each of them.
    """
    protocol = Protocol()
    protocol.unknown(tree, SECTIONS)
    _shape(tree, protocol)
    if protocol.faults:
        return protocol
    if "cost" in tree:
        protocol.cost = parts.typed(CostSpec, tree["cost"], "cost", protocol)
    stages = _stages(tree, protocol)
    if stages and not protocol.faults:
        try:
            protocol.training = TrainingSpec(stages=tuple(stages), seed=seed)
        except ValidationError as error:
            protocol.faults += [("stages", parts.sentence(item)) for item in error.errors()]
    if "data" in tree and "schedule" in tree:
        protocol.evaluation = _evaluation(tree, protocol)
    protocol.waits = list(dict.fromkeys(protocol.waits))
    return protocol


def _stages(tree: dict[str, Any], protocol: Protocol) -> list[StageSpec]:
    if "schedule" not in tree and not tree.get("stages"):
        return []
    common = {key: tree[key] for key in STAGE_SECTIONS if key in tree}
    stages = []
    for name, overlay in (tree.get("stages") or {"train": {}}).items():
        prefix = f"stages.{name}." if tree.get("stages") else ""
        protocol.unknown(overlay, _STAGE_KEYS, prefix)
        merged = deep_merge(common, {key: overlay[key] for key in STAGE_SECTIONS if key in overlay})
        stage = _stage(name, merged, overlay, prefix, protocol)
        if stage is not None:
            stages.append(stage)
    return stages


def _stage(
    name: str, tree: dict[str, Any], overlay: dict[str, Any], prefix: str, protocol: Protocol
) -> StageSpec | None:
    missing = [key for key in ("data", "model", "method", "schedule") if key not in tree]
    protocol.faults += [(prefix + key, "missing section") for key in missing]
    schedule = dict(tree.get("schedule", {}))
    batch = {key: schedule.pop(key) for key in ("batch_total", "crop") if key in schedule}
    streams = {}
    for stream, own in (overlay.get("streams") or {STREAM: {}}).items() if "data" in tree else ():
        whole = deep_merge({"data": tree["data"], "augmentation": tree.get("augmentation", {}), **batch}, own)
        place = f"{prefix}streams.{stream}." if own else prefix
        streams[stream] = parts.stream(whole, place, place.rstrip(".") if own else f"{prefix}schedule", protocol)
    built = {
        "model": parts.model(tree["model"], prefix + "model", protocol) if "model" in tree else None,
        "weights": parts.typed(WeightsSpec, tree.get("weights", {}), prefix + "weights", protocol),
        "method": parts.choice("method", tree["method"], prefix + "method", protocol) if "method" in tree else None,
        "schedule": parts.typed(ScheduleSpec, schedule, prefix + "schedule", protocol) if "schedule" in tree else None,
    }
    if any(part is None for part in (*built.values(), *streams.values())):
        return None
    batches = [each.batch_total for each in streams.values() if each is not None]
    built["schedule"] = _cut(built["schedule"], batches, f"{prefix}schedule.micro_batch", protocol)
    if built["schedule"] is None:
        return None
    rest = {"emits": overlay["emits"]} if "emits" in overlay else {}
    own = {**built, **rest, "name": name, "starts_from": overlay.get("from"), "streams": streams}
    return parts.typed(StageSpec, own, prefix.rstrip("."), protocol)


def _cut(schedule: Any, batches: list[int], place: str, protocol: Protocol) -> ScheduleSpec | None:
    """The schedule without a micro-batch that holds the whole batch: it cuts nothing, so that no id should change."""
    fault = cut_fault(schedule.micro_batch, batches)
    if fault:
        protocol.faults.append((place, fault))
        return None
    whole = schedule.micro_batch is not None and schedule.micro_batch >= max(batches, default=0)
    cut: ScheduleSpec = schedule.model_copy(update={"micro_batch": None}) if whole else schedule
    return cut


def _evaluation(tree: dict[str, Any], protocol: Protocol) -> EvaluationSpec | None:
    """The evaluation, on the data of the training as far as it names none of its own."""
    evaluation = tree.get("evaluation", {})
    if "data" in evaluation:
        names = ", ".join((*_EVALUATION_DATA, "split"))
        protocol.faults.append(("evaluation.data", f"unknown key 'data'; {names} stand in evaluation itself"))
    own = {key: evaluation[key] for key in _EVALUATION_DATA if key in evaluation}
    rest = {key: value for key, value in evaluation.items() if key not in (*own, "split", "data")}
    data = {key: value for key, value in tree["data"].items() if key in (*_EVALUATION_DATA, "name", "classes")}
    merged = {**rest, "data": {**data, **own, "splits": [evaluation.get("split", "val")]}}
    findings = parts.Findings()
    found = parts.typed(EvaluationSpec, merged, "evaluation", findings)
    protocol.faults += [(_as_written(location, own), text) for location, text in findings.faults]
    return found


def _as_written(location: str, own: dict[str, Any]) -> str:
    """Where a recipe writes what the typed evaluation holds."""
    if not location.startswith("evaluation.data."):
        return location
    name = location.split(".")[2]
    if name == "splits":
        return "evaluation.split"
    return location.replace("evaluation.data.", "evaluation." if name in own else "data.", 1)


def _shape(tree: dict[str, Any], protocol: Protocol) -> None:
    """A fault for every section, stage or stream that is no map; a setting may have replaced one by a value."""

    def check(place: dict[str, Any], keys: Iterable[str], prefix: str) -> list[tuple[str, dict[str, Any]]]:
        wrong = [key for key in keys if key in place and not isinstance(place[key], dict)]
        protocol.faults += [(prefix + key, f"a map of keys is wanted, got {place[key]!r}") for key in wrong]
        return [(f"{prefix}{key}.", place[key]) for key in keys if key in place and key not in wrong]

    stages = dict(check(tree, SECTIONS, "")).get("stages.", {})
    for prefix, overlay in check(stages, stages, "stages."):
        check(overlay, STAGE_SECTIONS, prefix)
        for place, streams in check(overlay, ["streams"], prefix):
            check(streams, streams, place)


def deep_merge(lower: dict[Any, Any], upper: dict[Any, Any]) -> dict[Any, Any]:
    """``upper`` over ``lower``; maps with integer keys and everything that is no map are replaced whole.

    A map that names another entry (``name`` differs) starts afresh: options of one method mean nothing to another.
    """
    if "name" in upper and "name" in lower and plain(upper["name"]) != plain(lower["name"]):
        return dict(upper)
    merged = dict(lower)
    for key, value in upper.items():
        if is_section(value) and is_section(merged.get(key)):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = value
    return merged


@dataclass(frozen=True)
class Origin:
    """Where a value comes from.

    Attributes:
        layer: base, table, row, reading, budget, command line or default.
        where: file and line, or the option typed.
        source: what the publication or code says it, from the recipe's ``sources``.
        confidence: set where the value is inferred.
    """

    layer: str
    where: str = ""
    source: str = ""
    confidence: str | None = None

    def __str__(self) -> str:
        mark = f" [{self.confidence} confidence]" if self.confidence else ""
        return "".join([self.layer, f" · {self.source}" if self.source else "", mark])


@dataclass(frozen=True)
class Traced:
    """A value and its origin."""

    value: Any
    origin: Origin


def plain(tree: Any) -> Any:
    """A traced tree as plain data."""
    if isinstance(tree, Traced):
        return tree.value
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return tree


def flatten(tree: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of a tree by dotted path; see ``is_section`` for what counts as a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if is_section(value):
            leaves |= flatten(value, f"{path}.")
        else:
            leaves[path] = value
    return leaves


def put(tree: dict[Any, Any], path: str, value: Any) -> None:
    """Set one dotted path in place, making sections on the way."""
    *parents, last = path.split(".")
    for parent in parents:
        inner = tree.get(parent)
        if not isinstance(inner, dict):
            inner = tree[parent] = {}
        tree = inner
    tree[last] = value


def pick(tree: dict[Any, Any], path: str, default: Any = None) -> Any:
    """The value at a dotted path."""
    for part in path.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return default
        tree = tree[part]
    return tree


def is_section(value: Any) -> bool:
    """Whether a value is a map of settings, rather than one setting that happens to be a map."""
    return isinstance(value, dict) and not any(isinstance(key, int) for key in value)
