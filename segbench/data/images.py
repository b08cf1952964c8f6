"""Read image and label files, and never take half a file for a whole one.

A decoder may hand back the upper part of a file that was cut off and say nothing. So every PNG is walked chunk by
chunk first: each checksum must hold and the last chunk must be IEND. That costs far less than decoding.
"""

import zlib
from pathlib import Path

import cv2
import numpy as np

from segbench.core.errors import MissingFault

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class BrokenFile(MissingFault):
    """One file cannot be read or is not what it should be. ``reason`` is its message without path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}", next="segbench data verify")
        self.path = path
        self.reason = reason


def read_image(path: Path) -> np.ndarray:
    """A colour image as uint8 (H, W, 3) RGB.

    Raises:
        BrokenFile: missing, cut off, damaged or no image.
    """
    pixels = cv2.imdecode(np.frombuffer(_read(path), np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise BrokenFile(path, "cannot be decoded")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def read_label(path: Path) -> np.ndarray:
    """A grey 8-bit label file as uint8 (H, W), its values untouched.

    Raises:
        BrokenFile: missing, cut off, damaged, or not one channel of 8 bits.
    """
    values = cv2.imdecode(np.frombuffer(_read(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise BrokenFile(path, "cannot be decoded")
    if values.ndim != 2 or values.dtype != np.uint8:
        raise BrokenFile(path, "is not a grey 8-bit label image")
    return values


def png_fault(data: bytes) -> str | None:
    """What is wrong with the bytes of a PNG file, None if every chunk is whole.

    The layout (signature; chunks of length, type, data, CRC-32 over type and data; IEND last) is that of the
    PNG specification, sections 5.2 and 5.3.
    """
    if not data.startswith(_SIGNATURE):
        return "is not a PNG file"
    view, position = memoryview(data), len(_SIGNATURE)
    while position + 12 <= len(data):
        length = int.from_bytes(view[position : position + 4])
        end = position + 12 + length
        if end > len(data):
            return "is cut off"
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            return "is damaged (a checksum inside does not hold)"
        if view[position + 4 : position + 8] == b"IEND":
            return None
        position = end
    return "is cut off"


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BrokenFile(path, "is missing") from None
    except OSError as error:
        raise BrokenFile(path, f"cannot be read ({error.strerror})") from error
    if not data:
        raise BrokenFile(path, "is empty")
    if path.suffix.lower() == ".png" and (fault := png_fault(data)):
        raise BrokenFile(path, fault)
    return data
