"""Reader of pickled int64 arrays, the format of published lists of images, that unpickles nothing.

A pickle is a program. This one is never run: its operations are listed (``pickletools``) and compared, one by one,
with those that NumPy writes for a one-dimensional array of little-endian int64 in protocol 3. Anything else is refused.
"""

import pickletools

import numpy as np

_ARRAY = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")  # before NumPy 2, and since
_MEMO = ("BINPUT", "LONG_BINPUT")  # store a value that no operation here loads again
_INTEGERS = ("BININT", "BININT1", "BININT2")
_LENGTH, _VALUES = object(), object()
_WANTED = (
    ("PROTO", 3), ("GLOBAL", _ARRAY), ("GLOBAL", ("numpy ndarray",)), ("INT", 0), ("TUPLE1", None),
    ("SHORT_BINBYTES", b"b"), ("TUPLE3", None), ("REDUCE", None),
    ("MARK", None), ("INT", 1), ("INT", _LENGTH), ("TUPLE1", None),
    ("GLOBAL", ("numpy dtype",)), ("BINUNICODE", "i8"), ("INT", 0), ("INT", 1), ("TUPLE3", None), ("REDUCE", None),
    ("MARK", None), ("INT", 3), ("BINUNICODE", "<"), ("NONE", None), ("NONE", None), ("NONE", None),
    ("INT", -1), ("INT", -1), ("INT", 0), ("TUPLE", None), ("BUILD", None),
    ("INT", 0), ("BINBYTES", _VALUES), ("TUPLE", None), ("BUILD", None), ("STOP", None),
)  # fmt: skip


def read_integers(data: bytes) -> np.ndarray:
    """Return the array of a pickle of int64, as int64 (N,).

    Raises:
        ValueError: the pickle holds anything else, or is cut off.
    """
    found = [_plain(operation.name, argument) for operation, argument, _ in pickletools.genops(data)]
    found = [step for step in found if step[0] not in _MEMO]
    length, values = -1, b""
    if len(found) != len(_WANTED):
        raise ValueError("is not a pickled array of int64 and is not opened")
    for (name, argument), (wanted, value) in zip(found, _WANTED, strict=True):
        if value is _LENGTH and isinstance(argument, int):
            length = argument
        elif value is _VALUES and isinstance(argument, bytes):
            values = argument
        elif name != wanted or (argument not in value if isinstance(value, tuple) else argument != value):
            raise ValueError("is not a pickled array of int64 and is not opened")
    if len(values) != 8 * length:
        raise ValueError(f"says {length:,} numbers and holds {len(values):,} bytes")
    return np.frombuffer(values, "<i8").astype(np.int64)


def _plain(name: str, argument: object) -> tuple[str, object]:
    """Return one operation with integers and booleans of any size as ``INT``: old NumPy wrote 1 for True."""
    if name in ("NEWFALSE", "NEWTRUE"):
        return "INT", int(name == "NEWTRUE")
    return ("INT" if name in _INTEGERS else name), argument
