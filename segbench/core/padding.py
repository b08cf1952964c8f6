"""How images are padded before a network sees them."""

from typing import Literal

from .fields import Spec, setting


class PadSpec(Spec):
    """Where images are padded with the mean colour, so that a network gets a size that it was made for.

    The answer of the padding is cut off again.
    """

    multiple: int = setting(1, gt=0, description="each side becomes ``multiple * k + plus``; 8 and 1 are PSPNet's")
    plus: int = setting(0, ge=0)
    to_window: bool = setting(False, description="an image smaller than the window is padded up to it")
    where: Literal["end", "both"] = setting("end", description="at the right and the bottom, or half at either end")
