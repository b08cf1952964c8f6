"""Registration of the user's own data sets: folders below the data root with a ``dataset.yaml``. Free of torch.

Once registered, they are used like every other data set. ``description`` has the format of the file.
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

_ASIDE = re.compile(r".*\.before-\d+")  # moved aside by a download
_UNKNOWN = 254
_MARK = "own"  # marks the registry's entries of this module


def discover(root: Path) -> list[str]:
    """Register every folder below ``root`` with a ``dataset.yaml``, in place of those of an earlier call.

    A faulty description is registered as well: its faults are raised where that data set is used, and nowhere else.

    Returns:
        One sentence for each that was left out because segbench has a data set of its name.
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
    """Unregister the data sets of ``discover``."""
    for name in registry.added("dataset"):
        if registry.has_module("dataset", name, _MARK):
            registry.remove("dataset", name)
            remove_table(name)


def _parts(name: str, path: Path) -> dict[str, ModuleType]:
    """Return the modules of a registry entry: options, reader, and the mark of this module."""
    description, faults = read(path)
    if not is_name(name):
        fault = f"{name!r} is not a valid name of a data set: letters, digits, - and _; rename the folder"
        faults.append(f"{name}/{FILE}: {fault}")
    if description is not None and not faults:
        try:
            add_table(description.table(name, source=f"{name}/{FILE}"))
        except UsageFault:
            faults.append(f"{name}/{FILE}: segbench has a class table {name!r} of its own; rename the folder")
    if description is None or faults:
        broken = _module(name, "faulty", __getattr__=_raising(name, faults))
        return {"options": broken, "reader": broken, _MARK: broken}
    files = OwnFiles(name, path.parent, description)
    reader = {"locate": files.locate, "pairs": files.pairs, "read_label": files.read_label}
    return {
        "options": _module(name, "options", Options=_options(name, path, description, files)),
        "reader": _module(name, "reader", **reader),
        _MARK: _module(name, _MARK),
    }


def _module(name: str, stem: str, **members: object) -> ModuleType:
    module = ModuleType(f"{__name__}.{name}.{stem}")
    vars(module).update(members)
    return module


def _raising(name: str, faults: list[str]) -> Callable[[str], object]:
    """Return a module's ``__getattr__`` (PEP 562) that raises the faults of the description."""

    def refuse(member: str) -> object:
        if member.startswith("__"):
            raise AttributeError(member)
        raise InvalidFault(*faults, next=f"fix these lines, then: segbench data verify {name}")

    return refuse


def _options(name: str, path: Path, description: Description, files: "OwnFiles") -> type[DatasetOptions]:
    """Return the facts as a type, like those of every data set; files are counted on first use.

    ``coding`` distinguishes them from facts of the same files with other labels, e.g. in the verification cache.
    """
    unlabelled = tuple(split for split in description.splits if description.label_pattern(split) is None)

    class Options(DatasetOptions):
        title: str = description.title or name
        table: str = name
        splits: dict[str, tuple[int, ...]] = Field(default_factory=lambda: files.counts)
        secret: tuple[str, ...] = unlabelled
        native_size: Size | None = description.size
        size_bytes: int = Field(default_factory=lambda: files.size_bytes)
        licence: str = description.licence
        coding: str = description.coding()
        obtain: str = f"{path} says where its files are{f'; {description.source}' if description.source else ''}."

    return Options


class OwnFiles:
    """Files of one data set, found by its patterns and lists.

    Args:
        name: of the data set.
        home: folder of the ``dataset.yaml``.
        description: its contents.
    """

    def __init__(self, name: str, home: Path, description: Description) -> None:
        self._name, self._home, self._description = name, home, description
        self._colours = description.colours() if description.label_mode == "colours" else None

    def locate(self, root: Path) -> Path | None:
        """Return the folder that paths are relative to; None if it does not exist."""
        if not (root / self._name / FILE).is_file():
            return None
        folder = self._folder
        return folder if folder.is_dir() else None

    def pairs(self, folder: Path, split: str) -> list[Pair]:
        """Return all pairs of a split, sorted by name, also those of which the image or the label is missing.

        Raises:
            MissingFault: the list of the split is missing.
            InvalidFault: two images have one name, or a line of a list cannot be a name.
        """
        description = self._description
        pattern, labels = description.image_pattern(split), description.label_pattern(split)
        stars = pattern.count("*") if labels is None else labels.count("*")
        listing = description.splits[split].list_
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
        """Return the values of the class table, uint8 (H, W).

        Raises:
            BrokenFile: missing, cut off, damaged, not of the label mode, or with an unknown colour.
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
        """Number of images of each split: as described, else as found; at least 1, as an empty split is a fault."""
        described = {split: own.count for split, own in self._description.splits.items()}
        return {split: (count or len(self._pairs[split]) or 1,) for split, count in described.items()}

    @cached_property
    def size_bytes(self) -> int:
        """Size of all images and labels."""
        files = {file for listed in self._pairs.values() for pair in listed for file in pair.files}
        return sum(_size(file) for file in files)

    @cached_property
    def _pairs(self) -> dict[str, list[Pair]]:
        return {split: self.pairs(self._folder, split) for split in self._description.splits}

    @property
    def _folder(self) -> Path:
        return self._home / Path(self._description.folder or ".").expanduser()

    @cached_property
    def _of_colour(self) -> np.ndarray:
        """Train id of every RGB colour, uint8 (2**24,): 16 MB, and one look-up per pixel."""
        table = np.full(1 << 24, _UNKNOWN, np.uint8)
        for (red, green, blue), train_id in (self._colours or {}).items():
            table[red | green << 8 | blue << 16] = train_id
        return table

    def _listed(self, path: Path, folder: Path, pattern: str) -> dict[tuple[str, ...], str]:
        """Return the images in a list by the words that replace the stars."""
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
                fault = f"{path}:{number}: {name!r} does not match the {stars} * of {pattern}"
                raise InvalidFault(fault, next=again)
            found[words] = f"{folder}/{_filled(pattern, words)}"
        return found


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _filled(pattern: str, words: tuple[str, ...]) -> str:
    """Return the pattern with its stars replaced, one after the other."""
    return "".join(text + word for text, word in zip(pattern.split("*"), (*words, ""), strict=True))


def _matching(folder: Path, pattern: str) -> dict[tuple[str, ...], str]:
    """Return the files of a pattern by the words that its stars match, without hidden files."""
    found: list[tuple[tuple[str, ...], str]] = [((), str(folder))]
    for level in pattern.split("/"):
        if "*" not in level:
            found = [(words, f"{place}/{level}") for words, place in found]
            continue
        shape = re.compile("(.+)".join(re.escape(piece) for piece in level.split("*")))
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
