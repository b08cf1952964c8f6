"""Words for the difference between two values of a field, as printed in reports."""

from typing import Any

_NAMES = {
    "batch_total": "batch",
    "data.name": "data set",
    "data.size": "image size",
    "data.splits": "trained on",
    "data.subset.count": "labelled images",
    "data.subset.draw": "draw of the labelled images",
    "data.subset.rule": "labelled images chosen by",
    "evaluation.data.name": "scored on",
    "evaluation.data.splits": "scored on",
    "evaluation.fuse": "predictions fused as",
    "evaluation.mirrored": "mirrored windows joined as",
    "evaluation.overlap": "windows joined as",
    "evaluation.placing": "placing of windows",
    "method.name": "method",
    "schedule.optimizer.lr": "learning rate",
    "schedule.optimizer.name": "optimizer",
    "schedule.policy.min_lr": "lowest learning rate",
    "schedule.policy.name": "policy",
    "schedule.policy.power": "power of the policy",
    "schedule.policy.warmup_steps": "warm-up steps",
    "starts_from": "starts from",
}
_SILENT = ("schedule", "optimizer", "model")  # sections that are left out
_WEIGHTS = {"imagenet": "ImageNet", "coco": "COCO"}
_SIZES = ("crop", "size", "window", "stride", "input")


def phrase(field: str, published: Any, ran: Any, *, dataset: str = "") -> str:
    """Return the difference of a field in words.

    Examples: ``steps 1,500 of 6,000``, ``random instead of ImageNet weights``,
    ``decoder head conv1x1 instead of conv3x3``.

    Args:
        field: dotted path inside a stage or stream.
        published: the published value, plain.
        ran: the value that ran, plain.
        dataset: name of the published data set.
    """
    if field.endswith("data.source"):
        scored = "scored on " if field.startswith("evaluation") else ""
        names = {"generated": "generated scenes", "folder": f"{dataset} images".strip()}
        return f"{scored}{names[ran]} instead of {names[published]}"
    if field.endswith("data.images"):
        scored = "scored on " if field.startswith("evaluation") else ""
        return f"{scored}{_count(ran)} images instead of {_count(published)}"
    if field == "weights.backbone":
        return f"{_WEIGHTS.get(ran, ran)} instead of {_WEIGHTS.get(published, published)} weights"
    name, last = _name(field), field.split(".")[-1]
    if _is_fraction(published, ran, last):
        return f"{name} {_text(ran, last)} of {_text(published, last)}"
    # A size that a network does not state is its default, for which there is no word.
    theirs = "its own" if published is None and field.startswith("model.") else _text(published, last)
    return f"{name} {_text(ran, last)} instead of {theirs}"


def _name(field: str) -> str:
    if field in _NAMES:
        return _NAMES[field]
    if field.startswith("evaluation.data."):
        return f"evaluation {_name(field.removeprefix('evaluation.'))}"
    words = field.split(".")[-2:]
    words = words[:-1] if words[-1] == "name" else words
    return " ".join(word for word in words if word not in _SILENT).replace("_", " ")


def _is_fraction(published: Any, ran: Any, last: str) -> bool:
    """Return True if the value is a smaller count, size or scale."""
    if isinstance(published, list) and isinstance(ran, list):
        pairs = list(zip(published, ran, strict=False))
        return len(published) == len(ran) and all(_is_fraction(a, b, last) or (_is_int(a) and a == b) for a, b in pairs)
    if last == "scale" and all(isinstance(value, int | float) for value in (published, ran)):
        return bool(ran < published)
    return _is_int(published) and _is_int(ran) and ran < published


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(value: int | None) -> str:
    return "all" if value is None else f"{value:,}"


def _text(value: Any, last: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        if len(value) == 2 and (last in _SIZES or last.endswith(("_size", "_grid"))):
            return f"{value[0]}x{value[1]}"
        return "/".join(_text(item, last) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item, str(key))}" for key, item in value.items()) or "none"
    return "none" if value is None else str(value)
