"""Specs of evaluation protocols by name: the user's values first, then those of the checkpoint's project."""

import math
from typing import Any

from pydantic import ValidationError

from segbench.checkpoints.loaded_model import LoadedModel
from segbench.checkpoints.published import PublishedCheckpoint
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.spec import DataSpec, EvaluationSpec, Size

from .request import HELP, EvalRequest

# segbench's own recipes start at 0.75; most projects test at 0.5 to 1.75, each image mirrored too.
OWN_SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
_SIZING = ("short_side", "max_side", "multiple_of", "pad", "enlarge")
SLIDING = ("mode", "window", "stride", "placing", "overlap", "mirror", "mirrored")


def evaluation_spec(
    request: EvalRequest, model: LoadedModel, data: DataSpec, published: PublishedCheckpoint | None
) -> EvaluationSpec:
    """Return the protocol in force.

    The size at which images are shown is that of the checkpoint's project in every protocol; windows, scales and flips
    are the protocol's.

    Raises:
        UsageFault: options that cannot be combined, or the protocol of the publication is not known.
        InvalidFault: windows and strides that do not fit.
    """
    name = request.protocol or ("slide" if request.window else "whole")
    theirs = dict(model.protocol)
    fields = {key: theirs[key] for key in _SIZING if key in theirs}
    if name == "published":
        fields = _published(request, theirs, published)
    elif name == "slide" or (name == "ms-flip" and (request.window or theirs.get("mode") == "slide")):
        fields |= _windows(request, theirs)
    elif request.window or request.stride:
        raise UsageFault(
            f"--window and --stride cannot be combined with --protocol {name}.",
            next=f"{request.command} --protocol slide",
        )
    if name == "ms-flip":
        fields |= {"scales": _scales(model, theirs), "flip": True}
    if request.scales:
        fields["scales"] = request.scales
    if request.flip is not None:
        fields["flip"] = request.flip
    return build(data, request, fields)


def build(data: DataSpec, request: EvalRequest, fields: dict[str, Any]) -> EvaluationSpec:
    """Return a spec of these fields.

    Raises:
        InvalidFault: they cannot be combined.
    """
    try:
        return EvaluationSpec.model_validate({"data": data, "absent": request.absent, **fields})
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidFault(f"This is no protocol: {said}.", next=HELP) from error


def multi_scale(model: LoadedModel) -> dict[str, Any]:
    """Return the fields of ms + flip at the project's sizes and windows."""
    theirs = dict(model.protocol)
    keys = (*_SIZING, *(SLIDING if theirs.get("mode") == "slide" else ()))
    fields = {key: theirs[key] for key in keys if key in theirs}
    return {**fields, "scales": _scales(model, theirs), "flip": True}


def sliding(request: EvalRequest, model: LoadedModel) -> dict[str, Any] | None:
    """Return the fields of sliding windows; None if no window is known."""
    theirs = dict(model.protocol)
    if not (request.window or theirs.get("window")):
        return None
    return {key: theirs[key] for key in _SIZING if key in theirs} | _windows(request, theirs)


def describe(spec: EvaluationSpec) -> str:
    """Return a protocol in words: ``single scale``, ``ms + flip``, ``windows 769x769 every 513x513, single scale``."""
    parts = []
    if spec.mode == "slide" and spec.window is not None:
        stride = spec.stride or spec.window
        parts.append("windows {}x{} every {}x{}".format(*spec.window, *stride))
    if len(spec.scales) > 1:
        parts.append("ms + flip" if spec.flip else "ms")
    else:
        scale = "" if spec.scales == (1.0,) else f" {spec.scales[0]:g}"
        parts.append(f"{'one' if scale else 'single'} scale{scale}{' + flip' if spec.flip else ''}")
    if spec.short_side is not None:
        parts.append(f"short side {spec.short_side}")
    return ", ".join(parts)


def same_protocol(one: EvaluationSpec, other: EvaluationSpec) -> bool:
    """Return whether two protocols are equal but for data and the rule for absent classes."""
    return one.model_dump(exclude={"data", "absent"}) == other.model_dump(exclude={"data", "absent"})


def _published(request: EvalRequest, theirs: dict[str, Any], published: PublishedCheckpoint | None) -> dict[str, Any]:
    known = [figure.protocol for figure in published.figures] if published else []
    fields = next((protocol.fields for protocol in known if protocol.fields is not None), None)
    if fields is None and not theirs:
        raise UsageFault(
            f"The published protocol of {request.checkpoint} is not known.",
            next=f"{request.command} --protocol ms-flip",
        )
    return dict(theirs if fields is None else fields)


def _windows(request: EvalRequest, theirs: dict[str, Any]) -> dict[str, Any]:
    own = {key: theirs[key] for key in SLIDING if key in theirs}
    window = request.window or own.get("window")
    if window is None:
        raise UsageFault(
            f"No window is known for {request.checkpoint}.",
            next=f"{request.command} --protocol slide --window 512x1024",
        )
    stride = request.stride or (own.get("stride") if request.window is None else None) or _two_thirds(tuple(window))
    return {**own, "mode": "slide", "window": window, "stride": stride}


def _two_thirds(window: Size) -> Size:
    return math.ceil(window[0] * 2 / 3), math.ceil(window[1] * 2 / 3)


def _scales(model: LoadedModel, theirs: dict[str, Any]) -> tuple[float, ...]:
    if len(theirs.get("scales", ())) > 1:
        return tuple(theirs["scales"])
    return OWN_SCALES if model.header is not None else SCALES
