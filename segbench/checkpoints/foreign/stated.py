"""What a file of MMSegmentation, or of a project built on it, states beside its tensors.

Versions 0.x keep ``CLASSES`` and the configuration's text as ``config``; versions 1.x ``dataset_meta.classes`` and
``cfg``. A text states how images are fed (``img_norm_cfg``, ``data_preprocessor``), whether resizes align corners
(``decode_head.align_corners``), windows (``test_cfg``) and sizes (the steps of the test's pipeline).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from segbench.core.spec import InputSpec

from .configuration import numbers, parse_configuration, stated, whole_numbers
from .family import Foreign

_NOTE = "{what} as the configuration in the file says."
# Images of their own size need no resizing: (short side, long side).
_OWN_SIZE = {"CityscapesDataset": (1024, 2048)}
_LARGEST_SIDE = 20_000


@dataclass(frozen=True)
class Stated:
    """What the words say; None, or nothing, where they are silent.

    Attributes:
        classes: names in the order of the outputs.
        settings: the configuration by names, plain data.
        align_corners: of the head.
        input: what the network is fed.
        scoring: fields of an evaluation spec; None unless both windows and sizes are said.
        data: the class that reads the data set there, e.g. ``CityscapesDataset``.
    """

    classes: tuple[str, ...]
    settings: Mapping[str, Any]
    align_corners: bool | None
    input: InputSpec | None
    scoring: dict[str, object] | None
    data: str


def read_words(meta: Mapping[str, Any]) -> Stated:
    """Sort out what lies beside the tensors; nothing that it holds is a fault."""
    settings = parse_configuration(meta.get("config")) or parse_configuration(meta.get("cfg"))
    data = _first(settings, "dataset_type", "data.test.type", "test_dataloader.dataset.type")
    return Stated(
        classes=_names(meta.get("CLASSES") or stated(meta, "dataset_meta.classes")),
        settings=settings,
        align_corners=_corners(settings),
        input=_input(settings),
        scoring=_scoring(settings, data if isinstance(data, str) else ""),
        data=data if isinstance(data, str) else "",
    )


def settled(foreign: Foreign, words: Stated, *, assumed: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> Foreign:
    """A checkpoint with what its file states of it in the place of what was assumed.

    Args:
        foreign: as its tensors show it.
        words: what the file says.
        assumed: beginnings of notes that no longer hold where the file says how it is scored.
        more: what else the file has settled, for the note.
    """
    model = foreign.model
    changes: dict[str, Any] = {}
    if words.align_corners is not None:
        changes["align_corners"] = words.align_corners
    if words.input is not None:
        changes["input"] = words.input
    said = [
        *(["Input"] if words.input is not None else []),
        *(["corners"] if words.align_corners is not None else []),
        *more,
        *(["scoring"] if words.scoring is not None else []),
    ]
    notes = list(foreign.notes)
    if words.scoring is not None:
        notes = [note for note in notes if not (assumed and note.startswith(assumed))]
    if said:
        listed = said[0].capitalize() if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
        notes.append(_NOTE.format(what=f"{listed[0].upper()}{listed[1:]} {'is' if len(said) == 1 else 'are'}"))
    named = words.classes if len(words.classes) == foreign.num_classes else ()
    return replace(
        foreign,
        model=model.model_copy(update=changes),
        protocol=foreign.protocol if words.scoring is None else words.scoring,
        notes=tuple(notes),
        classes=named,
    )


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        return ()
    return tuple(value)


def _first(settings: Mapping[str, Any], *paths: str) -> Any:
    found = (stated(settings, path) for path in paths)
    return next((value for value in found if value is not None), None)


def _corners(settings: Mapping[str, Any]) -> bool | None:
    """Of the head, or of all heads where there are several in a row."""
    head = stated(settings, "model.decode_head")
    heads = head if isinstance(head, list | tuple) else [head]
    values = {stated(each, "align_corners") for each in heads if isinstance(each, Mapping)}
    (value,) = values if len(values) == 1 else (None,)
    return value if isinstance(value, bool) else None


def _input(settings: Mapping[str, Any]) -> InputSpec | None:
    """Files are decoded as BGR there; the mean is of the channels as they are fed, in 0..255."""
    norm = _first(settings, "img_norm_cfg", "data_preprocessor", "model.data_preprocessor")
    mean, std = (numbers(stated(norm, name), 3) for name in ("mean", "std"))
    order = _first(norm if isinstance(norm, Mapping) else {}, "to_rgb", "bgr_to_rgb")
    if mean is None or std is None or min(std) <= 0 or not isinstance(order, bool):
        return None
    usual = InputSpec()
    scaled = [(each[0] / 255, each[1] / 255, each[2] / 255) for each in (mean, std)]
    own = [_usual(value, known) for value, known in zip(scaled, (usual.mean, usual.std), strict=True)]
    return InputSpec(channels="rgb" if order else "bgr", mean=own[0], std=own[1])


def _usual(value: tuple[float, float, float], known: tuple[float, float, float]) -> tuple[float, float, float]:
    """The known numbers where these are the same but for the last bit."""
    same = all(math.isclose(one, other, rel_tol=1e-9) for one, other in zip(value, known, strict=True))
    return known if same else value


def _scoring(settings: Mapping[str, Any], data: str) -> dict[str, object] | None:
    windows = _windows(_first(settings, "model.test_cfg.mode", "test_cfg.mode"), settings)
    sizes = _sizes(settings, data)
    return None if windows is None or sizes is None else {**windows, **sizes, "enlarge": "twice"}


def _windows(mode: object, settings: Mapping[str, Any]) -> dict[str, object] | None:
    if mode == "whole":
        return {"mode": "whole"}
    sides = [
        whole_numbers(_first(settings, f"model.test_cfg.{name}", f"test_cfg.{name}"))
        for name in ("crop_size", "stride")
    ]
    if mode != "slide" or any(each is None or len(each) != 2 or min(each) < 1 for each in sides):
        return None
    window, stride = sides
    assert window is not None and stride is not None
    gaps = any(step > side for step, side in zip(stride, window, strict=True))
    return None if gaps else {"mode": "slide", "window": window, "stride": stride}


def _sizes(settings: Mapping[str, Any], data: str) -> dict[str, object] | None:
    """What the pipeline's resizing says, which keeps the ratio or cannot be said here."""
    pipeline = _first(settings, "test_pipeline", "data.test.pipeline", "test_dataloader.dataset.pipeline")
    steps = list(_steps(pipeline))
    resizes = [step for step in steps if step.get("type") in ("Resize", "AlignResize")]
    if len(resizes) != 1 or resizes[0].get("keep_ratio") is not True:
        return None
    sizes = [step.get(name) for step in steps for name in ("img_scale", "scale") if step.get(name) is not None]
    sides = whole_numbers(sizes[0]) if len(sizes) == 1 else None
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
    """Steps of a pipeline, and those inside of them."""
    if not isinstance(pipeline, list | tuple) or level > 3:
        return
    for step in pipeline:
        if isinstance(step, Mapping):
            yield step
            yield from _steps(step.get("transforms"), level + 1)
