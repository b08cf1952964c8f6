"""Options that every output format is given."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RenderOptions:
    """Options of a rendering; a format ignores those that it has no use for.

    Attributes:
        per_class: show the IoU of every class as well.
        width: columns of the terminal.
        color: allow colour codes of a terminal.
        brief: deviations in a line a section, not all of them.
    """

    per_class: bool = False
    width: int = 100
    color: bool = False
    brief: bool = False
