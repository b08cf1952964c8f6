"""Metadata beside the tensors in files of MMSegmentation and of projects built on it.

Versions 0.x keep ``CLASSES`` and the text of the configuration as ``config``; versions 1.x ``dataset_meta.classes`` and
``cfg``. The text states normalisation (``img_norm_cfg``, ``data_preprocessor``), corners of resizes
(``decode_head.align_corners``), windows (``test_cfg``) and sizes (the steps of the test pipeline).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from segbench.core.spec import InputSpec

from ..family import ForeignCheckpoint
from .config_text import as_floats, as_ints, lookup, parse_config

_NOTE = "{what} as the configuration in the file states."
# Size of the images, which need no resizing to it: (short side, long side).
_OWN_SIZE = {"CityscapesDataset": (1024, 2048)}
_LARGEST_SIDE = 20_000


@dataclass(frozen=True)
class StatedSettings:
    """Settings that a file states; None or empty where it does not.

    Attributes:
        classes: names in the order of the outputs.
        settings: the configuration as plain data.
        align_corners: of the head.
        input: channel order and normalisation.
        evaluation: fields of an evaluation spec; None unless both windows and sizes are stated.
    """

    classes: tuple[str, ...]
    settings: Mapping[str, Any]
    align_corners: bool | None
    input: InputSpec | None
    evaluation: dict[str, object] | None


def parse_metadata(meta: Mapping[str, Any]) -> StatedSettings:
    """Parse the entry ``meta`` of a file; whatever cannot be parsed is left out."""
    settings = parse_config(meta.get("config")) or parse_config(meta.get("cfg"))
    data = _first(settings, "dataset_type", "data.test.type", "test_dataloader.dataset.type")
    return StatedSettings(
        classes=_names(meta.get("CLASSES") or lookup(meta, "dataset_meta.classes")),
        settings=settings,
        align_corners=_corners(settings),
        input=_input(settings),
        evaluation=_evaluation(settings, data if isinstance(data, str) else ""),
    )


def apply_metadata(
    checkpoint: ForeignCheckpoint, stated: StatedSettings, *, assumed: tuple[str, ...] = (), more: tuple[str, ...] = ()
) -> ForeignCheckpoint:
    """Return a checkpoint with the settings that its file states in place of the assumed ones.

    Args:
        checkpoint: as read from its tensors.
        stated: the settings.
        assumed: beginnings of notes that no longer hold if the file states its evaluation.
        more: names of other settings that the file states, for the note.
    """
    model = checkpoint.model
    changes: dict[str, Any] = {}
    if stated.align_corners is not None:
        changes["align_corners"] = stated.align_corners
    if stated.input is not None:
        changes["input"] = stated.input
    said = [
        *(["Input"] if stated.input is not None else []),
        *(["corners"] if stated.align_corners is not None else []),
        *more,
        *(["scoring"] if stated.evaluation is not None else []),
    ]
    notes = list(checkpoint.notes)
    if stated.evaluation is not None:
        notes = [note for note in notes if not (assumed and note.startswith(assumed))]
    if said:
        listed = said[0].capitalize() if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
        notes.append(_NOTE.format(what=f"{listed[0].upper()}{listed[1:]} {'is' if len(said) == 1 else 'are'}"))
    named = stated.classes if len(stated.classes) == checkpoint.num_classes else ()
    return replace(
        checkpoint,
        model=model.model_copy(update=changes),
        protocol=checkpoint.protocol if stated.evaluation is None else stated.evaluation,
        notes=tuple(notes),
        classes=named,
    )


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        return ()
    return tuple(value)


def _first(settings: Mapping[str, Any], *paths: str) -> Any:
    found = (lookup(settings, path) for path in paths)
    return next((value for value in found if value is not None), None)


def _corners(settings: Mapping[str, Any]) -> bool | None:
    """Return ``align_corners`` of the head, or of all heads of a cascade if they agree."""
    head = lookup(settings, "model.decode_head")
    heads = head if isinstance(head, list | tuple) else [head]
    values = {lookup(each, "align_corners") for each in heads if isinstance(each, Mapping)}
    (value,) = values if len(values) == 1 else (None,)
    return value if isinstance(value, bool) else None


def _input(settings: Mapping[str, Any]) -> InputSpec | None:
    """Return the input: images are decoded as BGR there; the mean is of the channels as fed, in 0..255."""
    norm = _first(settings, "img_norm_cfg", "data_preprocessor", "model.data_preprocessor")
    mean, std = (as_floats(lookup(norm, name), 3) for name in ("mean", "std"))
    order = _first(norm if isinstance(norm, Mapping) else {}, "to_rgb", "bgr_to_rgb")
    if mean is None or std is None or min(std) <= 0 or not isinstance(order, bool):
        return None
    usual = InputSpec()
    scaled = [(each[0] / 255, each[1] / 255, each[2] / 255) for each in (mean, std)]
    own = [_usual(value, known) for value, known in zip(scaled, (usual.mean, usual.std), strict=True)]
    return InputSpec(channels="rgb" if order else "bgr", mean=own[0], std=own[1])


def _usual(value: tuple[float, float, float], known: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the known numbers if these are the same up to rounding."""
    same = all(math.isclose(one, other, rel_tol=1e-9) for one, other in zip(value, known, strict=True))
    return known if same else value


def _evaluation(settings: Mapping[str, Any], data: str) -> dict[str, object] | None:
    windows = _windows(_first(settings, "model.test_cfg.mode", "test_cfg.mode"), settings)
    sizes = _sizes(settings, data)
    return None if windows is None or sizes is None else {**windows, **sizes, "enlarge": "twice"}


def _windows(mode: object, settings: Mapping[str, Any]) -> dict[str, object] | None:
    if mode == "whole":
        return {"mode": "whole"}
    sides = [
        as_ints(_first(settings, f"model.test_cfg.{name}", f"test_cfg.{name}")) for name in ("crop_size", "stride")
    ]
    if mode != "slide" or any(each is None or len(each) != 2 or min(each) < 1 for each in sides):
        return None
    window, stride = sides
    assert window is not None and stride is not None
    gaps = any(step > side for step, side in zip(stride, window, strict=True))
    return None if gaps else {"mode": "slide", "window": window, "stride": stride}


def _sizes(settings: Mapping[str, Any], data: str) -> dict[str, object] | None:
    """Return the sizes of the pipeline's resizing; None if it does not keep the ratio or cannot be expressed."""
    pipeline = _first(settings, "test_pipeline", "data.test.pipeline", "test_dataloader.dataset.pipeline")
    steps = list(_steps(pipeline))
    resizes = [step for step in steps if step.get("type") in ("Resize", "AlignResize")]
    if len(resizes) != 1 or resizes[0].get("keep_ratio") is not True:
        return None
    sizes = [step.get(name) for step in steps for name in ("img_scale", "scale") if step.get(name) is not None]
    sides = as_ints(sizes[0]) if len(sizes) == 1 else None
    if sides is None or len(sides) != 2 or not 1 <= min(sides) <= max(sides) <= _LARGEST_SIDE:
        return None
    units = [step.get("size_divisor") for step in steps if step.get("type") in ("AlignResize", "ResizeToMultiple")]
    unit = units[0] if len(units) == 1 and isinstance(units[0], int) and 1 < units[0] <= _LARGEST_SIDE else None
    if units and unit is None:
        return None
    own = (min(sides), max(sides)) == _OWN_SIZE.get(data)
    shown = {} if own else {"short_side": min(sides), "max_side": max(sides)}
    return {**shown, **({} if unit is None else {"multiple_of": unit})}


def _steps(pipeline: object, level: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a pipeline, and those inside of them."""
    if not isinstance(pipeline, list | tuple) or level > 3:
        return
    for step in pipeline:
        if isinstance(step, Mapping):
            yield step
            yield from _steps(step.get("transforms"), level + 1)
