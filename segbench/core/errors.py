"""Expected errors: exceptions with an exit code and the command to type next."""

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
    """Base class of expected failures: one line per fault, then a command that helps.

    Args:
        *faults: one complete sentence per fault, without line breaks.
        next: command to type next, without the word ``Next``.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, *faults: str, next: str = "") -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
        self.next = next


class UsageFault(SegbenchError):
    """The command line names something that does not exist, or options that cannot be combined."""

    exit_code = ExitCode.USAGE


class MissingFault(SegbenchError):
    """Data, weights or a licence are missing, or data is not what it claims to be."""

    exit_code = ExitCode.MISSING


class InvalidFault(SegbenchError):
    """A recipe, configuration or checkpoint is invalid."""

    exit_code = ExitCode.INVALID


class RunFault(SegbenchError):
    """A run failed but can be resumed: disk full, non-finite loss, locked by another process."""

    exit_code = ExitCode.FAILED


class Busy(RunFault):
    """Another process is doing the same work; nothing has failed."""


class Interrupted(SegbenchError):
    """The user pressed Ctrl-C, and the state has been saved."""

    exit_code = ExitCode.INTERRUPTED


def first_line(error: BaseException, *, named: bool = False, limit: int = 200) -> str:
    """Return the first non-empty line of an exception's message, or the name of its type if the message is empty.

    Args:
        error: exception, usually of another library.
        named: put the name of its type before the message.
        limit: maximum number of characters of the message.
    """
    kind = type(error).__name__
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    said = next(filter(None, lines), "")[:limit]
    return f"{kind}: {said}" if said and named else said or kind
