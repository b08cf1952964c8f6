"""Reading of image and label files; a truncated file is an error.

Images are read as their pixels are stored: EXIF orientation is ignored, because labels have none.
"""

import io
import zlib
from pathlib import Path

import cv2
import numpy as np

from segbench.core.errors import MissingFault

from . import truncation

_GREY, _PALETTE = 0, 3  # colour types, PNG specification, table 11.1
_KINDS = {_GREY: "grey", 2: "colour", _PALETTE: "palette", 4: "grey and transparent", 6: "colour and transparent"}


class BrokenFile(MissingFault):
    """One file that cannot be read or is not valid. ``reason`` is the message without path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}", next="segbench data verify")
        self.path = path
        self.reason = reason


def read_image(path: Path) -> np.ndarray:
    """Return a colour image as uint8 (H, W, 3) RGB; grey images get three equal channels.

    Raises:
        BrokenFile: missing, cut off, damaged or no image.
    """
    pixels = _decode(path, _read(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def read_label(path: Path) -> np.ndarray:
    """Return a grey 8-bit label file as uint8 (H, W), values unchanged.

    Raises:
        BrokenFile: missing, cut off, damaged, or not one channel of 8 bits.
    """
    data = _read(path)
    return _grey(path, data, np.uint8, "a grey 8-bit label image").astype(np.uint8, copy=False)


def read_indices(path: Path) -> np.ndarray:
    """Return a PNG of class indices, grey or with a palette, as uint8 (H, W): the indices, not their colours.

    OpenCV applies the palette, so the header is changed to "grey" before decoding; the pixels are not touched.

    Raises:
        BrokenFile: missing, cut off, damaged, or neither grey nor with a palette of up to 8 bits.
    """
    data = _read(path)
    colour, bits = _png_kind(data)
    if colour == _PALETTE:
        values = _decode(path, _as_grey(data), cv2.IMREAD_UNCHANGED)
        return values if bits == 8 else values // np.uint8(255 // (2**bits - 1))  # the decoder scales them to 0..255
    return _grey(path, data, np.uint8, "a palette or grey 8-bit label image")


def read_instances(path: Path) -> np.ndarray:
    """Return a grey instance file of 8 or 16 bits as int32 (H, W), values unchanged.

    Raises:
        BrokenFile: missing, cut off, damaged, or not one channel of 8 or 16 bits.
    """
    return _grey(path, _read(path), np.uint16, "a grey instance image of 8 or 16 bits").astype(np.int32)


def read_mat(path: Path, *fields: str) -> np.ndarray:
    """Return a matrix of a MATLAB file (up to version 7) as it is stored.

    Args:
        path: of the file.
        *fields: name of the variable, then of fields in nested structs: ``"GTcls", "Segmentation"``.

    Returns:
        (H, W) in its stored dtype.

    Raises:
        BrokenFile: missing, cut off, damaged, or without such a matrix.
    """
    from scipy.io import loadmat  # slow to import, and only some data sets need it

    data = _read(path)
    try:
        value = loadmat(io.BytesIO(data), variable_names=fields[:1])
        for number, field in enumerate(fields):
            value = value[field] if number == 0 else value[field].item()
    except KeyError:
        raise BrokenFile(path, f"has no variable {fields[0]!r}") from None
    except Exception:  # scipy raises anything, even UnboundLocalError, on damaged files
        raise BrokenFile(path, f"is cut off, damaged or no MATLAB file with {'.'.join(fields)}") from None
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "buif":
        raise BrokenFile(path, f"holds no matrix of numbers at {'.'.join(fields)}")
    return value


def read_mat_label(path: Path, *fields: str) -> np.ndarray:
    """Return a matrix of a MATLAB file as uint8 (H, W), see ``read_mat``.

    Raises:
        BrokenFile: as for ``read_mat``, or a value is not an integer from 0 to 255.
    """
    values = read_mat(path, *fields)
    with np.errstate(invalid="ignore"):  # values out of range fail the comparison
        label = values.astype(np.uint8)
    if not np.array_equal(label, values):
        raise BrokenFile(path, f"holds values at {'.'.join(fields)} that are no whole numbers from 0 to 255")
    return np.ascontiguousarray(label)


def _grey(path: Path, data: bytes, widest: type[np.uint8 | np.uint16], wanted: str) -> np.ndarray:
    """Decode one channel of at most that dtype; raise BrokenFile for any other image."""
    values = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if values.ndim != 2 or values.dtype not in (np.uint8, widest):
        colour, bits = _png_kind(data)
        found = f"a {_KINDS[colour]} image of {bits} bits" if colour in _KINDS else "another kind of image"
        raise BrokenFile(path, f"is {found}, not {wanted}")
    return values


def _decode(path: Path, data: bytes, flags: int) -> np.ndarray:
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # e.g. more pixels in the header than OpenCV allows
        values = None
    if values is None:
        raise BrokenFile(path, "cannot be decoded")
    return values


def _png_kind(data: bytes) -> tuple[int, int]:
    """Return (colour type, bits per sample) of a PNG file, (-1, 0) of any other."""
    return (data[25], data[24]) if data.startswith(truncation.PNG) and len(data) > 25 else (-1, 0)


def _as_grey(data: bytes) -> bytes:
    """Return a palette PNG as a grey one, indices as values: colour type 0, only the chunks of the pixels."""
    chunks = [truncation.PNG]
    for kind, start, end in truncation.png_chunks(data):
        if kind == b"IHDR":  # length, type, width, height, bits, colour type, three more, CRC-32
            body = data[start + 4 : start + 17] + bytes([_GREY]) + data[start + 18 : end - 4]
            chunks += [data[start : start + 4], body, zlib.crc32(body).to_bytes(4)]
        elif kind in (b"IDAT", b"IEND"):
            chunks.append(data[start:end])
    return b"".join(chunks)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BrokenFile(path, "is missing") from None
    except OSError as error:
        raise BrokenFile(path, f"cannot be read ({error.strerror})") from error
    if not data:
        raise BrokenFile(path, "is empty")
    if reason := truncation.fault(path, data):
        raise BrokenFile(path, reason)
    return data
