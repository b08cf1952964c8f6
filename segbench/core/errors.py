"""What a user can cause, as exceptions that know their exit code and the next command to type."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; the README's table is tested against this list."""

    DONE = 0
    BUG = 1
    USAGE = 2
    MISSING = 3
    INVALID = 4
    FAILED = 5
    OUTSIDE = 6
    INTERRUPTED = 130


class SegbenchError(Exception):
    """An expected failure: one line a fault, then a command that helps.

    Args:
        *faults: one complete sentence a fault, without line breaks.
        next: the command to type next, without the word ``Next``.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, *faults: str, next: str = "") -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
        self.next = next


class UsageFault(SegbenchError):
    """The command line asks for something that does not exist or would make no sense."""

    exit_code = ExitCode.USAGE


class MissingFault(SegbenchError):
    """Data, weights or a licence are missing, or data is not what it claims to be."""

    exit_code = ExitCode.MISSING


class InvalidFault(SegbenchError):
    """A recipe, configuration or checkpoint is invalid."""

    exit_code = ExitCode.INVALID


class RunFault(SegbenchError):
    """A run failed in a way that leaves it resumable: disk full, non-finite loss, taken by another process."""

    exit_code = ExitCode.FAILED


class Busy(RunFault):
    """Another process does the same work at this moment; nothing has failed."""


class Interrupted(SegbenchError):
    """The user pressed Ctrl-C and the state has been saved."""

    exit_code = ExitCode.INTERRUPTED


def first_line(error: BaseException, *, named: bool = False, limit: int = 200) -> str:
    """The first line that says something of another library's message; the name of its type where there is none.

    Args:
        error: any exception.
        named: the name of its type stands before its message.
        limit: characters of the message.
    """
    kind = type(error).__name__
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    said = next(filter(None, lines), "")[:limit]
    return f"{kind}: {said}" if said and named else said or kind
