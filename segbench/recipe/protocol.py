"""A protocol: everything that decides a number, as types built from a resolved plain tree."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from segbench.core import registry
from segbench.core.micro_batch import cut_fault
from segbench.core.spec import CostSpec, EvaluationSpec, ScheduleSpec, StageSpec, TrainingSpec, WeightsSpec
from segbench.core.spec.stage import default_primary

from . import components
from .components import Findings
from .schema import SECTIONS
from .tree import deep_merge

STREAM = "labelled"
STAGE_SECTIONS = ("data", "augmentation", "model", "weights", "method", "schedule")
_STAGE_KEYS = (*STAGE_SECTIONS, "from", "primary", "streams")
_EVALUATION_DATA = ("scale", "size", "resize", "source", "images")


@dataclass(frozen=True)
class Protocol:
    """A typed protocol, or the faults of an invalid one.

    Attributes:
        training: None if the row trains nothing here (a mere count), or if there are faults.
        evaluation: likewise.
        cost: the quantities to count, for rows of exact figures.
        faults: (dotted location, sentence), all of them.
        unsupported: entries that are not registered yet, as ``kind name``.
    """

    training: TrainingSpec | None = None
    evaluation: EvaluationSpec | None = None
    cost: CostSpec | None = None
    faults: tuple[tuple[str, str], ...] = ()
    unsupported: tuple[str, ...] = ()


def build(tree: dict[str, Any], *, seed: int = 0) -> Protocol:
    """Build the typed protocol of a resolved tree; every fault is collected with its dotted location.

    A fault in what several stages or streams inherit from the table is reported for each of them.
    """
    findings = Findings()
    findings.unknown(tree, SECTIONS)
    _check_shape(tree, findings)
    if findings.faults:
        return Protocol(faults=tuple(findings.faults))
    cost = components.typed(CostSpec, tree["cost"], "cost", findings) if "cost" in tree else None
    stages = _stages(tree, findings)
    _check_stage_names(stages, findings)
    training = None
    if stages and not findings.faults:
        try:
            training = TrainingSpec(stages=tuple(stages), seed=seed)
        except ValidationError as error:
            findings.faults += [("stages", components.sentence(item)) for item in error.errors()]
    evaluation = _evaluation(tree, findings) if "data" in tree and "schedule" in tree else None
    return Protocol(training, evaluation, cost, tuple(findings.faults), tuple(dict.fromkeys(findings.unsupported)))


def _stages(tree: dict[str, Any], findings: Findings) -> list[StageSpec]:
    if "schedule" not in tree and not tree.get("stages"):
        return []
    common = {key: tree[key] for key in STAGE_SECTIONS if key in tree}
    stages = []
    for name, overlay in (tree.get("stages") or {"train": {}}).items():
        prefix = f"stages.{name}." if tree.get("stages") else ""
        findings.unknown(overlay, (*_STAGE_KEYS, "emits"), prefix)
        if overlay.get("emits", "weights") != "weights":  # a key of the first recipes, whose default says nothing
            findings.faults.append((f"{prefix}emits", f"write labels_from: {name} into the data that takes its labels"))
        merged = deep_merge(common, {key: overlay[key] for key in STAGE_SECTIONS if key in overlay})
        stage = _stage(name, merged, overlay, prefix, findings)
        if stage is not None:
            stages.append(stage)
    return stages


def _stage(
    name: str, tree: dict[str, Any], overlay: dict[str, Any], prefix: str, findings: Findings
) -> StageSpec | None:
    missing = [key for key in ("data", "model", "method", "schedule") if key not in tree]
    findings.faults += [(prefix + key, "missing section") for key in missing]
    schedule = dict(tree.get("schedule", {}))
    batch = {key: schedule.pop(key) for key in ("batch_total", "crop") if key in schedule}
    streams = {}
    for stream, own in (overlay.get("streams") or {STREAM: {}}).items() if "data" in tree else ():
        whole = deep_merge({"data": tree["data"], "augmentation": tree.get("augmentation", {}), **batch}, own)
        place = f"{prefix}streams.{stream}." if own else prefix
        streams[stream] = components.stream(whole, place, place.rstrip(".") if own else f"{prefix}schedule", findings)
    built = {
        "model": components.model(tree["model"], prefix + "model", findings) if "model" in tree else None,
        "weights": components.typed(WeightsSpec, tree.get("weights", {}), prefix + "weights", findings),
        "method": components.choice("method", tree["method"], prefix + "method", findings)
        if "method" in tree
        else None,
        "schedule": components.typed(ScheduleSpec, schedule, prefix + "schedule", findings)
        if "schedule" in tree
        else None,
    }
    if any(component is None for component in (*built.values(), *streams.values())):
        return None
    batches = [each.batch_total for each in streams.values() if each is not None]
    built["schedule"] = _canonical_micro_batch(built["schedule"], batches, f"{prefix}schedule.micro_batch", findings)
    if built["schedule"] is None:
        return None
    primary = overlay.get("primary")
    if primary == default_primary(streams):
        primary = None  # the default, which must not change an id
    own = {**built, "name": name, "starts_from": overlay.get("from"), "streams": streams, "primary": primary}
    return components.typed(StageSpec, own, prefix.rstrip("."), findings)


def _check_stage_names(stages: list[StageSpec], findings: Findings) -> None:
    """Add a fault for every reference to a stage that is no earlier one."""
    seen: list[str] = []
    for stage in stages:
        named = list(stage.references)
        if registry.is_registered("method", stage.method.name):
            named += [("method", name) for name in registry.chosen("method", stage.method).needs_stages()]
        for place, name in named:
            if name not in seen:
                fault = f"no earlier stage {name!r}. {registry.choices(name, seen, word='Stages before it')}"
                findings.faults.append((f"stages.{stage.name}.{place}", fault))
        seen.append(stage.name)


def _canonical_micro_batch(schedule: Any, batches: list[int], place: str, findings: Findings) -> ScheduleSpec | None:
    """Drop a micro-batch that holds the whole batch: it divides nothing and must not change an id."""
    fault = cut_fault(schedule.micro_batch, batches)
    if fault:
        findings.faults.append((place, fault))
        return None
    whole = schedule.micro_batch is not None and schedule.micro_batch >= max(batches, default=0)
    canonical: ScheduleSpec = schedule.model_copy(update={"micro_batch": None}) if whole else schedule
    return canonical


def _evaluation(tree: dict[str, Any], findings: Findings) -> EvaluationSpec | None:
    """Build the evaluation, which inherits the data of the training unless it names its own."""
    evaluation = tree.get("evaluation", {})
    if "data" in evaluation:
        names = ", ".join((*_EVALUATION_DATA, "split"))
        findings.faults.append(("evaluation.data", f"unknown key 'data'; {names} stand in evaluation itself"))
    own = {key: evaluation[key] for key in _EVALUATION_DATA if key in evaluation}
    rest = {key: value for key, value in evaluation.items() if key not in (*own, "split", "data")}
    data = {key: value for key, value in tree["data"].items() if key in (*_EVALUATION_DATA, "name", "classes")}
    merged = {**rest, "data": {**data, **own, "splits": [evaluation.get("split", "val")]}}
    of_types = Findings()
    found = components.typed(EvaluationSpec, merged, "evaluation", of_types)
    findings.faults += [(_as_written(location, own), text) for location, text in of_types.faults]
    return found


def _as_written(location: str, own: dict[str, Any]) -> str:
    """Return where a recipe writes a value that the typed evaluation holds at ``location``."""
    if not location.startswith("evaluation.data."):
        return location
    name = location.split(".")[2]
    if name == "splits":
        return "evaluation.split"
    return location.replace("evaluation.data.", "evaluation." if name in own else "data.", 1)


def _check_shape(tree: dict[str, Any], findings: Findings) -> None:
    """Add a fault for every section, stage or stream that is not a map; a setting may have replaced one by a value."""

    def check(place: dict[str, Any], keys: Iterable[str], prefix: str) -> list[tuple[str, dict[str, Any]]]:
        wrong = [key for key in keys if key in place and not isinstance(place[key], dict)]
        findings.faults += [(prefix + key, f"a map of keys is wanted, got {place[key]!r}") for key in wrong]
        return [(f"{prefix}{key}.", place[key]) for key in keys if key in place and key not in wrong]

    stages = dict(check(tree, SECTIONS, "")).get("stages.", {})
    for prefix, overlay in check(stages, stages, "stages."):
        check(overlay, STAGE_SECTIONS, prefix)
        for place, streams in check(overlay, ["streams"], prefix):
            check(streams, streams, place)
