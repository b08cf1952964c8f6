"""Who watches while many images are gone through. Free of torch."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Watch:
    """Who is told, and asked, while something long goes on.

    Attributes:
        progress: called with (images done, images in all).
        notice: called with a sentence that is worth a line.
        stop: asked after every image; True ends it with what was done kept.
    """

    progress: Callable[[int, int], None] = lambda done, total: None
    notice: Callable[[str], None] = lambda text: None
    stop: Callable[[], bool] = lambda: False


SILENT = Watch()
