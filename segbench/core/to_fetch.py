"""Data, lists and weights that a run would have to fetch first."""

from typing import NamedTuple


class ToFetch(NamedTuple):
    """Data, a list or a file that is not here.

    Attributes:
        what: in words.
        next: command to type next, without the word ``Next``; empty if the run fetches it itself.
    """

    what: str
    next: str = ""
