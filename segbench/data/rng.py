"""Random generators keyed by purpose, so that draws do not depend on the process that makes them. Free of torch."""

import zlib
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """First word of a generator's key: every purpose draws independently of the others."""

    EPOCH = 1
    SAMPLE = 2
    COLOUR = 3
    MIX = 4
    PLACE = 5
    BLUR = 6
    UNIFORM = 7


def keyed_rng(purpose: Purpose, *key: int) -> np.random.Generator:
    """Return a generator that depends on the purpose and the key (integers >= 0) alone."""
    # The length comes first because a seed sequence ignores zeros at its end.
    return np.random.default_rng([1 + len(key), int(purpose), *key])


def name_key(name: str) -> int:
    """Return a stream's name as an integer for a key."""
    return zlib.crc32(name.encode())
