"""What is not on this machine yet, told before a run needs it."""

from typing import NamedTuple


class Lack(NamedTuple):
    """Data, a list or a file that is not here.

    Attributes:
        what: in words.
        next: the command to type next, without the word ``Next``; empty where the run sees to it.
    """

    what: str
    next: str = ""
