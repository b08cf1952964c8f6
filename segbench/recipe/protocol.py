"""A protocol: everything that decides a number, as types, built from the plain tree that resolving leaves."""

import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from segbench.core import registry
from segbench.core.spec import (
    AugmentationSpec,
    Choice,
    CostSpec,
    DataSpec,
    EvaluationSpec,
    ModelSpec,
    ScheduleSpec,
    StageSpec,
    StreamSpec,
    TrainingSpec,
    WeightsSpec,
)

Model = TypeVar("Model", bound=BaseModel)
STREAM = "labelled"
_EVALUATION_DATA = ("scale", "size", "source", "images")


@dataclass
class Protocol:
    """A typed protocol, or what forbids it.

    Attributes:
        training: None where the row trains nothing here (a mere count, or an unregistered part).
        evaluation: None likewise.
        cost: what is counted, for rows of exact figures.
        faults: (dotted location, sentence), all of them.
        waits: what is not registered yet, as ``kind name``.
    """

    training: TrainingSpec | None = None
    evaluation: EvaluationSpec | None = None
    cost: CostSpec | None = None
    faults: list[tuple[str, str]] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)


def build(tree: dict[str, Any], *, seed: int = 0) -> Protocol:
    """The typed protocol of a resolved tree; every fault is collected with its dotted location."""
    protocol = Protocol()
    if "cost" in tree:
        protocol.cost = _typed(CostSpec, tree["cost"], "cost", protocol)
    stages = _stages(tree, protocol)
    if stages and not protocol.faults:
        try:
            protocol.training = TrainingSpec(stages=tuple(stages), seed=seed)
        except ValidationError as error:
            protocol.faults += [("stages", str(item["msg"])) for item in error.errors()]
    evaluation = tree.get("evaluation", {})
    if "data" in tree and "schedule" in tree:
        own = {key: evaluation[key] for key in _EVALUATION_DATA if key in evaluation}
        rest = {key: value for key, value in evaluation.items() if key not in own and key != "split"}
        data = {key: value for key, value in tree["data"].items() if key in (*_EVALUATION_DATA, "name", "classes")}
        splits = [evaluation["split"]] if "split" in evaluation else ["val"]
        merged = {**rest, "data": {**data, **own, "splits": splits}}
        protocol.evaluation = _typed(EvaluationSpec, merged, "evaluation", protocol)
    protocol.waits = list(dict.fromkeys(protocol.waits))
    return protocol


def _stages(tree: dict[str, Any], protocol: Protocol) -> list[StageSpec]:
    if "schedule" not in tree and not tree.get("stages"):
        return []
    common = {key: value for key, value in tree.items() if key not in ("stages", "evaluation", "cost")}
    overlays = tree.get("stages") or {"train": {}}
    stages = []
    for name, overlay in overlays.items():
        prefix = f"stages.{name}." if tree.get("stages") else ""
        merged = deep_merge(common, {k: v for k, v in overlay.items() if k not in ("from", "emits", "streams")})
        stage = _stage(name, merged, overlay, prefix, protocol)
        if stage is not None:
            stages.append(stage)
    return stages


def _stage(
    name: str, tree: dict[str, Any], overlay: dict[str, Any], prefix: str, protocol: Protocol
) -> StageSpec | None:
    missing = [key for key in ("data", "model", "method", "schedule") if key not in tree]
    if missing:
        protocol.faults += [(prefix + key, "missing section") for key in missing]
        return None
    schedule = dict(tree["schedule"])
    plain = {key: schedule.pop(key) for key in ("batch_total", "crop") if key in schedule}
    streams = {}
    for stream, own in (overlay.get("streams") or {STREAM: {}}).items():
        whole = deep_merge({"data": tree["data"], "augmentation": tree.get("augmentation", {}), **plain}, own)
        streams[stream] = _stream(whole, f"{prefix}streams.{stream}." if own else prefix, protocol)
    parts = {
        "model": _model(tree["model"], prefix + "model", protocol),
        "weights": _typed(WeightsSpec, tree.get("weights", {}), prefix + "weights", protocol),
        "method": _choice("method", tree["method"], prefix + "method", protocol),
        "schedule": _typed(ScheduleSpec, schedule, prefix + "schedule", protocol),
    }
    if any(part is None for part in (*parts.values(), *streams.values())):
        return None
    return StageSpec(
        name=name,
        starts_from=overlay.get("from"),
        emits=overlay.get("emits", "weights"),
        streams=streams,
        **parts,
    )


def _stream(tree: dict[str, Any], prefix: str, protocol: Protocol) -> StreamSpec | None:
    data = _typed(DataSpec, tree["data"], prefix + "data", protocol)
    augmentation = _typed(AugmentationSpec, tree["augmentation"], prefix + "augmentation", protocol)
    if data is None or augmentation is None:
        return None
    rest = {key: tree[key] for key in ("batch_total", "crop") if key in tree}
    own = {"data": data, "augmentation": augmentation}
    unknown = [key for key in tree if key not in ("data", "augmentation", "batch_total", "crop")]
    protocol.faults += [(prefix + key, f"unknown key {key!r}") for key in unknown]
    return _typed(StreamSpec, {**rest, **own}, prefix + "schedule", protocol)


def _model(tree: dict[str, Any], prefix: str, protocol: Protocol) -> ModelSpec | None:
    model = _typed(ModelSpec, tree, prefix, protocol)
    if model is None:
        return None
    backbone = _choice("backbone", tree["backbone"], prefix + ".backbone", protocol)
    decoder = _choice("decoder", tree["decoder"], prefix + ".decoder", protocol)
    if backbone is None or decoder is None:
        return None
    return model.model_copy(update={"backbone": backbone, "decoder": decoder})


def _choice(kind: str, tree: Any, prefix: str, protocol: Protocol) -> Choice | None:
    """A registered choice with its options checked and defaults dropped; an unregistered one waits."""
    choice = _typed(Choice, tree, prefix, protocol)
    if choice is None:
        return None
    if not registry.is_registered(kind, choice.name):
        known = registry.names(kind)
        slip = [name for name in known if _is_slip(choice.name, name)]
        if slip:
            protocol.faults.append((prefix + ".name", f"no {kind} {choice.name!r}. Close: {slip[0]}"))
            return None
        protocol.waits.append(f"{kind} {choice.name}")
        return choice
    options = _typed(registry.options_of(kind, choice.name), choice.options, prefix, protocol)
    if options is None:
        return None
    return Choice(name=choice.name, options=options.canonical())


def _is_slip(given: str, known: str) -> bool:
    """A word that differs from a registered one by a letter or two is a slip, not a part that is still to come.

    Names that differ in digits alone (deeplabv2, deeplabv3) are different networks.
    """
    letters = [re.sub(r"\d", "", name) for name in (given, known)]
    return letters[0] != letters[1] and bool(registry.close_names(given, [known], limit=1, cutoff=0.85))


def _typed(model: type[Model], tree: Any, prefix: str, protocol: Protocol) -> Model | None:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            location = ".".join([prefix, *(str(part) for part in item["loc"])])
            protocol.faults.append((location, sentence(item)))
        return None


def sentence(item: Any) -> str:
    """One pydantic error in plain words."""
    name = str(item["loc"][-1]) if item["loc"] else ""
    if item["type"] == "extra_forbidden":
        return f"unknown key {name!r}"
    if item["type"] == "missing":
        return f"missing key {name!r}"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    message = str(item["msg"])
    return f"{message[0].lower()}{message[1:]}, got {item.get('input')!r}"


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
