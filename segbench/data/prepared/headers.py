"""Image sizes from file headers, to estimate disk space before anything is decoded."""

from pathlib import Path

from segbench.core.spec import Size
from segbench.data.truncation import JPEG, PNG

_FIRST = 1 << 16  # bytes of a JPEG to read first; thumbnails may push the size further back


def header_size(path: Path) -> Size | None:
    """Return (height, width) of a PNG or JPEG file; None for another format or a missing file."""
    try:
        with path.open("rb") as file:
            data = file.read(_FIRST)
            found = _png(data) if data.startswith(PNG) else _jpeg(data)
            if found is None and data.startswith(JPEG) and len(data) == _FIRST:
                found = _jpeg(data + file.read())
    except OSError:
        return None
    return found if found and min(found) > 0 else None


def _png(data: bytes) -> Size | None:
    """Read width and height after length and type of the first chunk (PNG specification, section 11.2.2)."""
    if len(data) < 24:
        return None
    return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])


def _jpeg(data: bytes) -> Size | None:
    """Read the first frame header (T.81, B.2.2), markers C0 to CF without C4, C8, CC: length, bits, height, width."""
    position = len(JPEG) if data.startswith(JPEG) else len(data)
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes before a marker
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[position + 5 : position + 7]), int.from_bytes(data[position + 7 : position + 9])
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return None
