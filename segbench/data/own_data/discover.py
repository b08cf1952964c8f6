"""Data sets of the user's own: folders below the data root with a ``dataset.yaml`` (see ``description``).

They are registered at run time and are then what every other data set is. Free of torch.
"""

import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from pydantic import Field

from segbench.core import registry
from segbench.core.errors import InvalidFault, MissingFault, UsageFault
from segbench.core.spec import Size
from segbench.data import images
from segbench.data.classes import add_table, remove_table
from segbench.data.facts import DatasetOptions
from segbench.data.images import BrokenFile
from segbench.data.reader import Pair

from .description import FILE, Description, is_name, read

_ASIDE = re.compile(r".*\.before-\d+")  # what a download has moved out of the way
_UNKNOWN = 254
_MARK = "own"  # the part by which entries of this module are known


def discover(root: Path) -> list[str]:
    """Register every folder below ``root`` with a ``dataset.yaml``, in place of what an earlier call registered.

    A faulty one is registered as well: whoever uses it gets its faults, and nobody else is kept from work.

    Returns:
        One sentence for each that had to be left out, because its name is that of a data set of segbench.
    """
    forget()
    refused = []
    for path in sorted(root.glob(f"*/{FILE}")):
        name = path.parent.name
        if name.startswith(".") or _ASIDE.fullmatch(name):
            continue
        if registry.is_packaged("dataset", name):
            refused.append(f"{path} is left out: segbench has a data set {name!r} of its own; rename the folder.")
        else:
            registry.add("dataset", name, _parts(name, path))
    return refused


def forget() -> None:
    """Take back what ``discover`` registered."""
    for name in registry.added("dataset"):
        if registry.has_part("dataset", name, _MARK):
            registry.remove("dataset", name)
            remove_table(name)


def _parts(name: str, path: Path) -> dict[str, ModuleType]:
    """The parts of an entry: options, reader, and the mark of this module."""
    told, faults = read(path)
    if not is_name(name):
        faults.append(f"{name}/{FILE}: {name!r} is no name of a data set: letters, digits, - and _; rename the folder")
    if told is not None and not faults:
        try:
            add_table(told.table(name, source=f"{name}/{FILE}"))
        except UsageFault:
            faults.append(f"{name}/{FILE}: segbench has a class table {name!r} of its own; rename the folder")
    if told is None or faults:
        broken = _module(name, "faulty", __getattr__=_raising(name, faults))
        return {"options": broken, "reader": broken, _MARK: broken}
    files = Files(name, path.parent, told)
    reader = {"locate": files.locate, "pairs": files.pairs, "read_label": files.read_label}
    return {
        "options": _module(name, "options", Options=_options(name, path, told, files)),
        "reader": _module(name, "reader", **reader),
        _MARK: _module(name, _MARK),
    }


def _module(name: str, part: str, **members: object) -> ModuleType:
    module = ModuleType(f"{__name__}.{name}.{part}")
    vars(module).update(members)
    return module


def _raising(name: str, faults: list[str]) -> Callable[[str], object]:
    """A module's ``__getattr__`` (PEP 562) that says what is wrong instead of giving anything."""

    def refuse(member: str) -> object:
        if member.startswith("__"):
            raise AttributeError(member)
        raise InvalidFault(*faults, next=f"mend these lines, then: segbench data verify {name}")

    return refuse


def _options(name: str, path: Path, told: Description, files: "Files") -> type[DatasetOptions]:
    """The facts as a type, like those of every data set; files are counted when they are first asked for.

    ``coding`` is there so that nobody takes what was examined under other labels for these.
    """

    class Options(DatasetOptions):
        title: str = told.title or name
        table: str = name
        splits: dict[str, tuple[int, ...]] = Field(default_factory=lambda: files.counts)
        secret: tuple[str, ...] = tuple(split for split in told.splits if told.label_pattern(split) is None)
        native_size: Size | None = told.size
        size_bytes: int = Field(default_factory=lambda: files.size_bytes)
        licence: str = told.licence
        coding: str = told.coding()
        obtain: str = f"{path} says where its files lie{f'; {told.source}' if told.source else ''}."

    return Options


class Files:
    """The files of one data set, found by its patterns and lists."""

    def __init__(self, name: str, home: Path, told: Description) -> None:
        self._name, self._home, self._told = name, home, told
        self._colours = told.colours() if told.label_mode == "colours" else None

    def locate(self, root: Path) -> Path | None:
        """The folder that paths are relative to; None if it is not there."""
        if not (root / self._name / FILE).is_file():
            return None
        folder = self._folder
        return folder if folder.is_dir() else None

    def pairs(self, folder: Path, split: str) -> list[Pair]:
        """All pairs of a split, sorted by name; a half that is missing is named all the same.

        Raises:
            MissingFault: the list of the split is missing.
            InvalidFault: two images have one name, or a line of a list cannot be one.
        """
        told = self._told
        pattern, labels = told.image_pattern(split), told.label_pattern(split)
        stars = pattern.count("*") if labels is None else labels.count("*")
        listing = told.splits[split].list_
        found = _matching(folder, pattern) if listing is None else self._listed(folder / listing, folder, pattern)
        named: dict[tuple[str, ...], str] = {}
        for words, image in found.items():
            other = named.setdefault(words[:stars], image)
            if other != image:
                both = f"{Path(other).name} and {Path(image).name} of split {split}"
                fault = f"{self._home / FILE}: {both} would have one label."
                raise InvalidFault(fault, next=f"remove one of them, then: segbench data verify {self._name}")
        if labels is not None and listing is None and stars == pattern.count("*"):
            for words in _matching(folder, labels):
                named.setdefault(words, f"{folder}/{_filled(pattern, words)}")
        pairs = []
        for words, image in sorted(named.items()):
            label = None if labels is None else Path(f"{folder}/{_filled(labels, words)}")
            pairs.append(Pair(f"{split}/{'/'.join(words)}", Path(image), label))
        return pairs

    def read_label(self, path: Path) -> np.ndarray:
        """Values of the class table, uint8 (H, W).

        Raises:
            BrokenFile: missing, cut off, damaged, of another kind than was said, or a colour is not known.
        """
        if self._colours is None:
            return images.read_indices(path)
        pixels = images.read_image(path)
        codes = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)
        label = self._of_colour.take(codes)
        unknown = label == _UNKNOWN
        if unknown.any():
            row, column = np.argwhere(unknown)[0].tolist()
            others = len(np.unique(codes[unknown])) - 1
            more = f" and {others} more" if others else ""
            colour = pixels[row, column].tolist()
            raise BrokenFile(path, f"has the colour {colour}{more} (row {row}, column {column}), which {FILE} lacks")
        return label

    @cached_property
    def counts(self) -> dict[str, tuple[int, ...]]:
        """Images of each split: as many as were said, or else as there are; none at all is never right."""
        said = {split: own.count for split, own in self._told.splits.items()}
        return {split: (count or len(self._everything[split]) or 1,) for split, count in said.items()}

    @cached_property
    def size_bytes(self) -> int:
        files = {file for listed in self._everything.values() for pair in listed for file in pair.files}
        return sum(_size(file) for file in files)

    @cached_property
    def _everything(self) -> dict[str, list[Pair]]:
        return {split: self.pairs(self._folder, split) for split in self._told.splits}

    @property
    def _folder(self) -> Path:
        return self._home / Path(self._told.folder or ".").expanduser()

    @cached_property
    def _of_colour(self) -> np.ndarray:
        """Train id of every colour there is, uint8 (2**24,): 16 MB, and one look-up a pixel."""
        table = np.full(1 << 24, _UNKNOWN, np.uint8)
        for (red, green, blue), train_id in (self._colours or {}).items():
            table[red | green << 8 | blue << 16] = train_id
        return table

    def _listed(self, path: Path, folder: Path, pattern: str) -> dict[tuple[str, ...], str]:
        """What the lines of a list stand for."""
        again = f"segbench data verify {self._name}"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise MissingFault(f"{path}: the list is missing", next=again) from None
        except (OSError, UnicodeDecodeError) as error:
            raise MissingFault(f"{path}: the list cannot be read ({error})", next=again) from error
        found, stars = {}, pattern.count("*")
        for number, line in enumerate(lines, 1):
            name = line.strip()
            if not name:
                continue
            words = tuple(name.split("/", stars - 1)) if stars > 1 else (name,)
            if len(words) != stars or ".." in name.split("/") or name.startswith("/"):
                fault = f"{path}:{number}: {name!r} does not say what the {stars} * of {pattern} stand for"
                raise InvalidFault(fault, next=again)
            found[words] = f"{folder}/{_filled(pattern, words)}"
        return found


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _filled(pattern: str, words: tuple[str, ...]) -> str:
    """The pattern with its stars replaced, one after the other."""
    parts = pattern.split("*")
    return "".join(part + word for part, word in zip(parts, (*words, ""), strict=True))


def _matching(folder: Path, pattern: str) -> dict[tuple[str, ...], str]:
    """Files of a pattern by what its stars stand for; hidden ones are left out, and folders that are not there."""
    found: list[tuple[tuple[str, ...], str]] = [((), str(folder))]
    for part in pattern.split("/"):
        if "*" not in part:
            found = [(words, f"{place}/{part}") for words, place in found]
            continue
        shape = re.compile("(.+)".join(re.escape(piece) for piece in part.split("*")))
        found = [
            ((*words, *match.groups()), f"{place}/{name}")
            for words, place in found
            for name in _listed_in(place)
            if (match := shape.fullmatch(name))
        ]
    return dict(found)


def _listed_in(place: str) -> list[str]:
    try:
        with os.scandir(place) as items:
            return [item.name for item in items if item.name[0] != "."]
    except (FileNotFoundError, NotADirectoryError):
        return []
