"""Published masks of PASCAL-Context, ``train.pth`` and ``val.pth``, read without executing code in them.

Such a file is a dictionary {image id: Pillow image} pickled by torch.save, and a pickle is a program: it may name any
function of any module and have it called. So names are not imported here. The few that a dictionary of images needs are
replaced by classes of this module that only store their state; any other name is refused.

Formats: torch/serialization.py (before version 1.6: pickles one after the other, of a magic number, a version, facts
of the system and the object; since then a zip whose member ``data.pkl`` is the object), Lib/pickletools.py, and
``Image.__getstate__`` of Pillow: [info, mode, (width, height), palette, bytes of the pixels].
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from segbench.core.errors import MissingFault

CLASSES = 60  # background and 59 classes
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_ZIP = b"PK\x03\x04"
_DAMAGED = (
    pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, MemoryError, NotImplementedError,
)  # fmt: skip
_FIX = "segbench data download pascal-context --replace"


def read_masks(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the masks of a file, in the order of their names.

    Args:
        path: ``train.pth`` or ``val.pth``; it is read into RAM.

    Yields:
        Name of the image (2008_000123) and its mask, uint8 (H, W) with values 0..59.

    Raises:
        MissingFault: missing, cut off, damaged, not a dictionary of masks, or with a name that such a dictionary does
            not need; nothing of it was executed.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(len(_ZIP)) == _ZIP
            file.seek(0)
            loaded = _zipped(file) if zipped else _successive(file)
    except _Refused as error:
        raise MissingFault(f"{path} {error}", next=_FIX) from None
    except _DAMAGED as error:
        raise MissingFault(f"{path} is cut off, damaged or no file of masks ({error}).", next=_FIX) from error
    except OSError as error:
        raise MissingFault(f"{path} cannot be read ({error.strerror}).", next=_FIX) from error
    if not isinstance(loaded, dict) or not loaded:
        raise MissingFault(f"{path} holds no dictionary of masks.", next=_FIX)
    for key, picture in sorted(loaded.items(), key=lambda item: str(item[0])):
        name = image_name(key)
        if name is None or not isinstance(picture, _Picture):
            raise MissingFault(f"{path} holds {str(key)[:40]!r}, which is no mask of an image id.", next=_FIX)
        try:
            yield name, picture.pixels()
        except ValueError as error:
            raise MissingFault(f"{path}: the mask of {name} {error}.", next=_FIX) from None


def image_name(image_id: object) -> str | None:
    """Return the name of a VOC image id: 2008000123 -> ``2008_000123``; None if it is not one."""
    digits = str(image_id) if isinstance(image_id, int) else ""
    return f"{digits[:4]}_{digits[4:]}" if len(digits) == 10 and digits.isdigit() else None


class _Refused(Exception):
    """A pickle names something that masks do not need."""


class _Picture:
    """Replacement of a Pillow image that only stores its state."""

    __slots__ = ("_state",)

    def __setstate__(self, state: object) -> None:
        self._state = state

    def pixels(self) -> np.ndarray:
        """Return uint8 (H, W) with values 0..59.

        Raises:
            ValueError: the state is not that of a grey or palette image with such values.
        """
        state = getattr(self, "_state", None)
        if not isinstance(state, list | tuple) or len(state) < 5:
            raise ValueError("is not whole")
        mode, size, data = state[1], state[2], state[4]
        if mode not in ("L", "P"):
            raise ValueError("is neither a grey nor a palette image")
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(side, int) for side in size):
            raise ValueError("has no size")
        width, height = size
        if not isinstance(data, bytes) or min(size) < 1 or len(data) != width * height:
            raise ValueError(f"does not have the {width} x {height} pixels that it should")
        mask = np.frombuffer(data, np.uint8).reshape(height, width)
        if mask.max() >= CLASSES:
            raise ValueError(f"has the value {mask.max()}; the highest is {CLASSES - 1}")
        return mask


class _Text:
    """Replacement of ``_codecs.encode``, which protocol 2 uses for bytes: returns the text, one character per byte."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object = "latin1") -> str:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise _Refused("asks for another coding of text than masks have.")
        return text


_REPLACEMENTS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("PIL.Image", "Image"): _Picture,
    ("PIL.PngImagePlugin", "PngImageFile"): _Picture,
    ("_codecs", "encode"): _Text(),
}


class _Unpickler(pickle.Unpickler):
    """Unpickler that resolves the names that a dictionary of images needs, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _REPLACEMENTS[module, name]
        except KeyError:
            raise _Refused(
                f"asks for {module}.{name}, which no file of masks needs; nothing of it was run, nothing was unpacked."
            ) from None

    def persistent_load(self, pid: object) -> Any:
        raise _Refused("holds tensors or other things that lie outside of it, which no file of masks does.")


def _load(file: IO[bytes]) -> Any:
    return _Unpickler(file, encoding="latin1").load()  # strings of Python 2 were bytes


def _successive(file: IO[bytes]) -> Any:
    if _load(file) != _MAGIC or _load(file) != _VERSION:
        raise _Refused("is no file of torch.save.")
    _load(file)  # facts of the system that wrote it
    return _load(file)


def _zipped(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        found = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(found) != 1:
            raise _Refused("is no file of torch.save.")
        with archive.open(found[0]) as member:
            return _load(member)
