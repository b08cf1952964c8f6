"""Out-of-memory errors of a device or of the machine, as faults with advice."""

import contextlib
from collections.abc import Iterator

import torch

from segbench.core.errors import RunFault

_CPU_MESSAGES = ("can't allocate memory", "not enough memory", "Cannot allocate memory")


def is_exhausted(error: BaseException) -> bool:
    """Return True for an error that reports a lack of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _CPU_MESSAGES)


@contextlib.contextmanager
def memory_fault(advice: str) -> Iterator[None]:
    """Turn out-of-memory errors into a fault.

    Args:
        advice: a command that may need less memory.

    Raises:
        RunFault: there was not enough memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_exhausted(error):
            raise
        where = "device" if isinstance(error, torch.OutOfMemoryError) else "machine"
        raise RunFault(f"The {where} ran out of memory.", next=advice) from error
