"""Running out of memory, on a device or beside it, as a fault with a way out."""

import contextlib
from collections.abc import Iterator

import torch

from segbench.core.errors import RunFault

_CPU_SAYS = ("can't allocate memory", "not enough memory", "Cannot allocate memory")


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_SAYS)


@contextlib.contextmanager
def memory_fault(advice: str) -> Iterator[None]:
    """Turn the exhaustion of memory into a fault.

    Args:
        advice: the command that may fit.

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
