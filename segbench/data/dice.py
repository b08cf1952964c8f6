"""Random draws that depend on what they are for, never on who makes them. Free of torch."""

import zlib
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What dice are for; each purpose has its own."""

    EPOCH = 1
    SAMPLE = 2
    COLOUR = 3
    MIX = 4
    PLACE = 5
    BLUR = 6
    UNIFORM = 7


def dice(purpose: Purpose, *words: int) -> np.random.Generator:
    """Independent dice for every purpose and list of whole numbers >= 0."""
    # The length comes first because a seed sequence ignores zeros at its end.
    return np.random.default_rng([1 + len(words), int(purpose), *words])


def stream_number(stream: str) -> int:
    """A stream's name as a number for dice."""
    return zlib.crc32(stream.encode())
