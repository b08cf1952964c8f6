"""Detection of truncated image files by their structure, far cheaper than decoding.

A decoder may return the upper rows of a truncated file without an error. So every PNG is walked chunk by chunk: each
checksum must match and the last chunk must be IEND. A JPEG has no checksums; it is walked marker by marker to its end
marker, over thumbnails and through every scan.
"""

import re
import zlib
from collections.abc import Iterator
from pathlib import PurePath

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
# In a scan 0xFF is followed by 0 if it is data and by D0..D7 at a restart; anything else is a marker, and all markers
# but 01 have a segment.
_MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")
_END, _SCAN = 0xD9, 0xDA


def fault(path: PurePath, data: bytes) -> str | None:
    """Return the fault of an image file, None if it is complete or of another format.

    The first bytes decide the format; only a ``.png`` must be a PNG, and a ``.jpg`` either of the two.
    """
    suffix = path.suffix.lower()
    if data.startswith(PNG) or suffix == ".png":
        return png_fault(data)
    if data.startswith(JPEG) or suffix in (".jpg", ".jpeg"):
        return jpeg_fault(data)
    return None


def png_fault(data: bytes) -> str | None:
    """Return the fault of a PNG file, None if every chunk is complete.

    The layout (signature; chunks of length, type, data, CRC-32 over type and data; IEND last) is that of the
    PNG specification, sections 5.2 and 5.3.
    """
    if not data.startswith(PNG):
        return "is not a PNG file"
    view = memoryview(data)
    for kind, start, end in png_chunks(data):
        if end > len(data):
            return "is cut off"
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            return "is damaged (a checksum inside does not hold)"
        if kind == b"IEND":
            return None
    return "is cut off"


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start, end) of every chunk of a PNG file up to IEND; the last may end beyond the file."""
    position = len(PNG)
    while position + 12 <= len(data):
        kind = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4])
        yield kind, position, end
        if kind == b"IEND":
            return
        position = end


def jpeg_fault(data: bytes) -> str | None:
    """Return the fault of a JPEG file, None if it reaches its end marker.

    Markers, the lengths of their segments and the stuffing of scans are those of ITU-T T.81, annex B.1. Damage within
    a scan is not detected.
    """
    if not data.startswith(JPEG):
        return "is not a JPEG file"
    position, scans = len(JPEG), 0
    while match := _MARKER.search(data, position):
        marker = match.group(1)[0]
        if marker == _END:
            return None if scans else "is damaged (it holds no picture)"
        scans += marker == _SCAN
        length = int.from_bytes(data[match.end() : match.end() + 2])
        position = match.end() + max(length, 2)
    return "is cut off"
