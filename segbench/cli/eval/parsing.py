"""Values of the options of ``segbench eval``. Imports nothing heavy."""

import re
from collections.abc import Mapping

from segbench.core.errors import UsageFault

HELP = "segbench eval --help"


def refuse(options: Mapping[str, object], other: str) -> None:
    """Raise on options that would be ignored.

    Raises:
        UsageFault: one of them was given.
    """
    given = [flag for flag, value in options.items() if value is not None]
    if given:
        raise UsageFault(f"{' and '.join(given)} cannot be combined with {other}.", next=HELP)


def parse_size(flag: str, text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of ``512x1024``, or of one number for a square; None for None.

    Raises:
        UsageFault: it is neither.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text.strip())
    size = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if min(size) < 1:
        raise UsageFault(f"{flag} takes HEIGHTxWIDTH, for example 512x1024, got {text!r}.", next=HELP)
    return size


def parse_scales(text: str | None) -> tuple[float, ...]:
    """Return the factors of ``0.5,1,1.5``; none for None.

    Raises:
        UsageFault: these are no factors from 0.1 to 4.
    """
    if text is None:
        return ()
    try:
        scales = tuple(float(factor) for factor in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0.1 <= scale <= 4 for scale in scales) or len(set(scales)) < len(scales):
        raise UsageFault(f"--scales takes factors from 0.1 to 4, for example 0.5,1,1.5, got {text!r}.", next=HELP)
    return scales
