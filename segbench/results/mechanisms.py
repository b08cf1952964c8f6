"""Claims about a mechanism that a calculation decides, without any training."""

import math
from collections.abc import Callable

TEMPERATURE = 0.1  # of Contextrast's loss
_DEGREES = 180


def negative_gradient(degrees: float, *, positive: float = 30.0, temperature: float = TEMPERATURE) -> float:
    """Return the length of the part of a loss's gradient that one negative adds, by the direction of a unit anchor.

    The loss is Contextrast's (supplement, equation 5) with unit vectors: one positive at the angle ``positive`` from
    the anchor, and one negative at ``degrees``. The negative pulls with p_- v_- / tau (equation 6), of which only what
    is perpendicular to the anchor turns it: p_- sin(angle) / tau.

    Args:
        degrees: angle between anchor and negative, 0 to 180.
        positive: angle between anchor and positive.
        temperature: tau.
    """
    angle = math.radians(degrees)
    # exp(cos / tau) of both, over their sum
    p = 1 / (1 + math.exp((math.cos(math.radians(positive)) - math.cos(angle)) / temperature))
    return p * math.sin(angle) / temperature


def harder_negatives() -> tuple[bool, str]:
    """Check that a negative nearer to the anchor always turns it more; return whether, and where it does."""
    lengths = [negative_gradient(degrees) for degrees in range(_DEGREES + 1)]
    peak = max(range(len(lengths)), key=lengths.__getitem__)
    falls = all(lengths[place] >= lengths[place + 1] for place in range(peak, _DEGREES))
    everywhere = falls and peak == 0
    says = (
        "p_- grows as the negative nears the anchor, at every angle; what turns the anchor, p_- sin(angle) / tau,"
        f" grows down to {peak} degrees and shrinks to 0 below (tau {TEMPERATURE:g}, positive at 30 degrees)"
    )
    return everywhere, says


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {"harder-negatives": harder_negatives}
