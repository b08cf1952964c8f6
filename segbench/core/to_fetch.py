"""What a run finds missing on this machine, told before it starts."""

from typing import NamedTuple


class ToFetch(NamedTuple):
    """Data, a list or a file that is not here.

    Attributes:
        what: in words.
        next: the command to type next, without the word ``Next``; empty where the run sees to it.
    """

    what: str
    next: str = ""
