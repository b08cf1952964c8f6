"""``dataset.yaml``: the description of a user's own data set. Free of torch and of image libraries.

    schema: 1
    title: Field robots
    images: images/{split}/*.jpg        # * matches the name of an image ...
    labels: labels/{split}/*_gt.png     # ... and is replaced by it here
    label_mode: indices                 # or colours
    classes:
      - {name: road, colour: [128, 64, 128], value: 1}
      - {name: vehicle, colour: [0, 0, 142], values: [2, 3]}
    ignore: [0, 255]                    # values that are not scored; colours in label_mode colours
    splits:
      train: {}
      val: {list: val.txt}              # each line is a match of *
      test: {labels: null}              # without labels

Optional are ``folder`` (of the files if not beside ``dataset.yaml``; paths are relative to it), ``size`` ([height,
width] of every image), ``licence``, ``source``, and ``count`` in a split (the number of images that it must have). In
label_mode colours ``colour`` is the colour in the label files, and ``colours`` lists more of them.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StrictInt, StrictStr, model_validator

from segbench.core.spec import digest
from segbench.core.strict_yaml import Location, load
from segbench.core.typed_yaml import parse
from segbench.data.classes import IGNORE, ClassEntry, ClassTable, slug

FILE = "dataset.yaml"
MOST_CLASSES = 254  # 255 is ignored, 254 marks what is unknown
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_LOSSY = (".jpg", ".jpeg", ".webp")

Byte = Annotated[StrictInt, Field(ge=0, le=255)]
Side = Annotated[StrictInt, Field(gt=0)]  # pixels


def _colour(given: Any) -> Any:
    if not isinstance(given, list) or len(given) != 3 or not all(_is_byte(number) for number in given):
        raise ValueError(f"a colour is [red, green, blue] with numbers from 0 to 255, got {given!r}")
    return tuple(given)


def _code(given: Any) -> Any:
    """Validate a value or a colour, where either is allowed."""
    if isinstance(given, list):
        return _colour(given)
    if not _is_byte(given):
        raise ValueError(f"must be a value from 0 to 255 or a colour [red, green, blue], got {given!r}")
    return given


def _is_byte(number: Any) -> bool:
    return type(number) is int and 0 <= number <= 255


Colour = Annotated[tuple[int, int, int], PlainValidator(_colour)]
Code = Annotated[int | tuple[int, int, int], PlainValidator(_code)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OwnClass(_Closed):
    """One class: its display colour, and its values or colours in the label files."""

    name: Annotated[StrictStr, Field(min_length=1)]
    colour: Colour | None = None
    value: Byte | None = None
    values: tuple[Byte, ...] = ()
    colours: tuple[Colour, ...] = ()

    @property
    def all_values(self) -> tuple[int, ...]:
        """``value`` and ``values`` together."""
        return self.values if self.value is None else (self.value, *self.values)

    @property
    def all_colours(self) -> tuple[tuple[int, int, int], ...]:
        """``colour`` and ``colours`` together."""
        return self.colours if self.colour is None else (self.colour, *self.colours)


class OwnSplit(_Closed):
    """Settings of one split."""

    images: StrictStr | None = None
    labels: StrictStr | None = None
    list_: StrictStr | None = Field(None, alias="list")
    count: Annotated[StrictInt, Field(gt=0)] | None = None


class Description(_Closed):
    """Contents of a ``dataset.yaml``."""

    schema_: Literal[1] = Field(alias="schema")
    title: StrictStr | None = None
    licence: StrictStr = "not stated"
    source: StrictStr | None = None
    folder: StrictStr | None = None
    images: StrictStr
    labels: StrictStr
    label_mode: Literal["indices", "colours"]
    size: tuple[Side, Side] | None = None
    classes: tuple[OwnClass, ...]
    ignore: tuple[Code, ...] = ()
    splits: dict[StrictStr, OwnSplit]

    @model_validator(mode="before")
    @classmethod
    def _plain_splits(cls, data: Any) -> Any:
        """Accept ``splits: [train, val]``, and ``train:`` without settings."""
        splits = data.get("splits") if isinstance(data, dict) else None
        if isinstance(splits, list) and all(isinstance(name, str) for name in splits):
            return {**data, "splits": {name: {} for name in splits}}
        if isinstance(splits, dict):
            return {**data, "splits": {name: {} if own is None else own for name, own in splits.items()}}
        return data

    def image_pattern(self, split: str) -> str:
        """Return the pattern of a split's image paths, with ``*``."""
        return (self.splits[split].images or self.images).replace("{split}", split)

    def label_pattern(self, split: str) -> str | None:
        """Return the pattern of a split's label paths, with ``*``; None if it has no labels."""
        own = self.splits[split]
        if "labels" in own.model_fields_set and own.labels is None:
            return None
        return (own.labels or self.labels).replace("{split}", split)

    def coding(self) -> str:
        """Return a digest of everything that decides the train id of a pixel."""
        classes = [[each.name, each.all_values, each.all_colours] for each in self.classes]
        return digest([self.label_mode, classes, self.ignore])

    def table(self, name: str, *, source: str) -> ClassTable:
        """Return the class table. Labels of colours are read as train ids, which are its values then."""
        classes = tuple(ClassEntry(each.name, each.colour or _display_colour(i)) for i, each in enumerate(self.classes))
        values = {IGNORE: IGNORE} if self.label_mode == "colours" else dict.fromkeys(self._ignored(), IGNORE)
        for train_id, each in enumerate(self.classes):
            own = (train_id,) if self.label_mode == "colours" else each.all_values
            values |= dict.fromkeys(own, train_id)
        return ClassTable(name, classes, source, tuple(sorted(values.items())))

    def colours(self) -> dict[tuple[int, int, int], int]:
        """Return the train id of every colour in the label files, 255 if it is ignored."""
        found = {each: IGNORE for each in self.ignore if isinstance(each, tuple)}
        for train_id, entry in enumerate(self.classes):
            found |= dict.fromkeys(entry.all_colours, train_id)
        return found

    def _ignored(self) -> Iterator[int]:
        yield from (each for each in self.ignore if isinstance(each, int))


def read(path: Path) -> tuple[Description | None, list[str]]:
    """Return a ``dataset.yaml``, or None and all of its faults, each ``NAME/dataset.yaml:line: location: sentence``."""
    document = load(path)
    description, faults = parse(document, Description, what=FILE)
    if description is not None:
        faults = [f"{document.where(place)}: {'.'.join(place)}: {text}" for place, text in _cross_check(description)]
    return (None if faults else description), [f"{path.parent.name}/{fault}" for fault in faults]


def is_name(name: str) -> bool:
    """Return True if a data set or a split may have this name: it becomes part of figures' and files' names."""
    return _NAME.fullmatch(name) is not None


def _cross_check(description: Description) -> Iterator[tuple[Location, str]]:
    """Yield faults of combinations of fields."""
    if not 2 <= len(description.classes) <= MOST_CLASSES:
        yield ("classes",), f"must be 2 to {MOST_CLASSES} classes, got {len(description.classes)}"
    if not description.splits:
        yield ("splits",), "a data set has at least one split"
    yield from _codes(description)
    slugs: dict[str, int] = {}
    for index, each in enumerate(description.classes):
        first = slugs.setdefault(slug(each.name), index)
        if not slug(each.name):
            yield ("classes", str(index), "name"), f"{each.name!r} has neither letters nor digits"
        elif first != index:
            yield ("classes", str(index), "name"), f"{each.name!r} is class {first} already"
    for place, pattern, split in _patterns(description):
        yield from ((place, text) for text in _pattern_faults(pattern, split=split))
    taken: dict[tuple[str, str | None], str] = {}
    for split, own in description.splits.items():
        images, labels = description.image_pattern(split), description.label_pattern(split)
        if not is_name(split):
            yield ("splits", split), f"{split!r} is not a valid name of a split: letters, digits, - and _"
        if labels is not None and labels.count("*") > images.count("*"):
            yield ("splits", split), f"{labels} has more * than {images}"
        if labels is not None and labels.lower().endswith(_LOSSY):
            yield ("splits", split), f"{labels}: lossy formats change label values; labels must be PNG"
        if own.list_ is not None and not _is_inside(own.list_):
            yield ("splits", split, "list"), f"{own.list_!r} is not inside the data set's folder"
        if (images, own.list_) in taken:
            yield ("splits", split), f"has the same images as {taken[images, own.list_]}"
        taken.setdefault((images, own.list_), split)


def _codes(description: Description) -> Iterator[tuple[Location, str]]:
    """Yield faults of values and colours: of the wrong kind for the label mode, or given twice."""
    colours = description.label_mode == "colours"
    taken: dict[object, str] = {}
    for index, each in enumerate(description.classes):
        place = ("classes", str(index))
        own: Iterable[object] = each.all_colours if colours else each.all_values
        if colours and each.all_values:
            yield place, "value and values cannot be combined with label_mode colours"
        if not colours and each.colours:
            yield place, "colours cannot be combined with label_mode indices"
        if not own:
            required = "colour" if colours else "value or values"
            yield place, f"{each.name!r} has no {required}"
        yield from ((place, text) for text in _taken(own, each.name, taken))
    for index, code in enumerate(description.ignore):
        place = ("ignore", str(index))
        if isinstance(code, tuple) != colours:
            yield place, f"{_text(code)} is not a {'colour [red, green, blue]' if colours else 'value'}"
        yield from ((place, text) for text in _taken([code], "ignored", taken))


def _taken(codes: Iterable[object], owner: str, taken: dict[object, str]) -> Iterator[str]:
    for code in codes:
        if code in taken:
            yield f"{_text(code)} is {taken[code]} already"
        taken.setdefault(code, owner)


def _text(code: object) -> str:
    return str(list(code)) if isinstance(code, tuple) else str(code)


def _patterns(description: Description) -> Iterator[tuple[Location, str, str]]:
    yield ("images",), description.images, ""
    yield ("labels",), description.labels, ""
    for split, own in description.splits.items():
        yield from (
            (("splits", split, key), text, split) for key in ("images", "labels") if (text := getattr(own, key))
        )


def _pattern_faults(pattern: str, *, split: str) -> Iterator[str]:
    bare = pattern.replace("{split}", split)
    if not _is_inside(pattern):
        yield f"{pattern!r} is not inside the data set's folder; set folder to change that"
    if "*" not in pattern:
        yield f"{pattern!r} has no * for the name of an image"
    if "**" in pattern or set(bare) & set("{}[]?"):
        yield f"{pattern!r}: only * (inside one folder) and {{split}} are placeholders"


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "\\" not in path


def _display_colour(index: int) -> tuple[int, int, int]:
    """Return a default colour: of the bit-interleaved colour map of PASCAL VOC, from its second colour on."""
    bits = [[(index + 1 >> (3 * place + channel)) & 1 for place in range(3)] for channel in range(3)]
    red, green, blue = (sum(bit << (7 - place) for place, bit in enumerate(each)) for each in bits)
    return red, green, blue
