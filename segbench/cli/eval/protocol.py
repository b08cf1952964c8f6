"""From the name of a protocol to a spec: what the user says, else what the checkpoint's project does."""

import math
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.spec import DataSpec, EvaluationSpec, Size

from .asked import HELP, Asked

if TYPE_CHECKING:
    from segbench.checkpoints.loaded_model import LoadedModel
    from segbench.checkpoints.published import PublishedCheckpoint

# segbench's own recipes start at 0.75; most projects test at 0.5 to 1.75, each image mirrored too.
OWN_SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
_SIZING = ("short_side", "max_side", "multiple_of", "pad", "enlarge")
SLIDING = ("mode", "window", "stride", "placing", "overlap", "mirror", "mirrored")


def evaluation_spec(
    asked: Asked, subject: "LoadedModel", data: DataSpec, published: "PublishedCheckpoint | None"
) -> EvaluationSpec:
    """The protocol in force.

    How large images are shown is the project's own in every protocol; windows, scales and mirrors are the protocol's.

    Raises:
        UsageFault: options that do not go together, or nothing is known of how the checkpoint was scored.
        InvalidFault: windows and strides that do not fit.
    """
    name = asked.protocol or ("slide" if asked.window else "whole")
    theirs = dict(subject.protocol)
    fields = {key: theirs[key] for key in _SIZING if key in theirs}
    if name == "published":
        fields = _published(asked, theirs, published)
    elif name == "slide" or (name == "ms-flip" and (asked.window or theirs.get("mode") == "slide")):
        fields |= _windows(asked, theirs)
    elif asked.window or asked.stride:
        raise UsageFault(
            f"--window and --stride mean nothing to --protocol {name}.", next=f"{asked.command} --protocol slide"
        )
    if name == "ms-flip":
        fields |= {"scales": _scales(subject, theirs), "flip": True}
    if asked.scales:
        fields["scales"] = asked.scales
    if asked.flip is not None:
        fields["flip"] = asked.flip
    return build(data, asked, fields)


def build(data: DataSpec, asked: Asked, fields: dict[str, Any]) -> EvaluationSpec:
    """A spec of these fields.

    Raises:
        InvalidFault: they do not fit together.
    """
    try:
        return EvaluationSpec.model_validate({"data": data, "absent": asked.absent, **fields})
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidFault(f"This is no protocol: {said}.", next=HELP) from error


def multi_scale(subject: "LoadedModel") -> dict[str, Any]:
    """Fields of ms + flip with the project's own sizes and windows, for the sweep."""
    theirs = dict(subject.protocol)
    keys = (*_SIZING, *(SLIDING if theirs.get("mode") == "slide" else ()))
    fields = {key: theirs[key] for key in keys if key in theirs}
    return {**fields, "scales": _scales(subject, theirs), "flip": True}


def sliding(asked: Asked, subject: "LoadedModel") -> dict[str, Any] | None:
    """Fields of windows, None where no window is known, for the sweep."""
    theirs = dict(subject.protocol)
    if not (asked.window or theirs.get("window")):
        return None
    return {key: theirs[key] for key in _SIZING if key in theirs} | _windows(asked, theirs)


def describe(spec: EvaluationSpec) -> str:
    """``single scale``, ``ms + flip``, ``windows 769x769 every 513x513, single scale``."""
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


def same_way(one: EvaluationSpec, other: EvaluationSpec) -> bool:
    """Whether two protocols differ in nothing but data and the rule for absent classes."""
    return one.model_dump(exclude={"data", "absent"}) == other.model_dump(exclude={"data", "absent"})


def _published(asked: Asked, theirs: dict[str, Any], published: "PublishedCheckpoint | None") -> dict[str, Any]:
    known = [figure.protocol for figure in published.figures] if published else []
    fields = next((protocol.fields for protocol in known if protocol.fields is not None), None)
    if fields is None and not theirs:
        raise UsageFault(
            f"How {asked.checkpoint} was scored where it was published is not known.",
            next=f"{asked.command} --protocol ms-flip",
        )
    return dict(theirs if fields is None else fields)


def _windows(asked: Asked, theirs: dict[str, Any]) -> dict[str, Any]:
    own = {key: theirs[key] for key in SLIDING if key in theirs}
    window = asked.window or own.get("window")
    if window is None:
        raise UsageFault(
            f"No window is known for {asked.checkpoint}.", next=f"{asked.command} --protocol slide --window 512x1024"
        )
    stride = asked.stride or (own.get("stride") if asked.window is None else None) or _two_thirds(tuple(window))
    return {**own, "mode": "slide", "window": window, "stride": stride}


def _two_thirds(window: Size) -> Size:
    return math.ceil(window[0] * 2 / 3), math.ceil(window[1] * 2 / 3)


def _scales(subject: "LoadedModel", theirs: dict[str, Any]) -> tuple[float, ...]:
    if len(theirs.get("scales", ())) > 1:
        return tuple(theirs["scales"])
    return OWN_SCALES if subject.header is not None else SCALES
