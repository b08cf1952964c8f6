"""Format, colours and bit depth of an image file, from its first bytes.

PNG: signature, then the IHDR chunk (PNG specification, section 11.2.2: width, height, bit depth, colour type).
"""

from dataclasses import dataclass
from pathlib import Path

from segbench.data.truncation import JPEG, PNG

_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with transparency", 6: "RGBA"}  # table 11.1
_BYTES = 26  # up to and with the colour type


@dataclass(frozen=True)
class Kind:
    """Format of an image file.

    Attributes:
        format: ``PNG``, ``JPEG``, or the suffix of the file's name.
        colours: of a PNG: ``grey``, ``RGB``, ``palette`` and the like; else empty.
        bits: of a PNG: per sample, or per index into the palette; else 0.
    """

    format: str
    colours: str = ""
    bits: int = 0

    def __str__(self) -> str:
        return f"{self.colours} {self.bits}-bit {self.format}" if self.colours else self.format

    @property
    def changes_values(self) -> bool:
        """True for JPEG, which blurs values, and for grey of fewer than 8 bits, which decoders stretch to 0..255."""
        return self.format == "JPEG" or (self.colours == "grey" and self.bits < 8)


def kind_of(path: Path) -> Kind:
    """Return the format of a file by its first bytes, or by its name where these are unknown or cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES)
    except OSError:
        data = b""
    if data.startswith(PNG) and len(data) == _BYTES:
        return Kind("PNG", _COLOURS.get(data[25], "unknown"), data[24])
    return Kind("JPEG" if data.startswith(JPEG) else path.suffix.lstrip(".").upper() or "unnamed")
