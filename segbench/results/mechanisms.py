"""Claims about a mechanism that a calculation decides, without any training."""

import math
from collections.abc import Callable
from itertools import pairwise

TEMPERATURE = 0.1  # default of Contextrast's tau here, a reading: the supplement states none
POSITIVES = range(0, 91, 10)  # angles between anchor and positive, degrees
_DEGREES = 180


def gradient_length(negative: float, positive: float, *, temperature: float = TEMPERATURE) -> float:
    """Return the length of Contextrast's gradient (supplement, equation 6) of one anchor, positive and negative.

    All are unit vectors in a plane, so that p_+ + p_- = 1 and the gradient is p_- (v_- - v_+) / tau.

    Args:
        negative: angle of the negative, degrees from the anchor; on the positive's side if it has the same sign.
        positive: angle of the positive, likewise.
        temperature: tau.
    """
    one, other = math.radians(positive), math.radians(negative)
    p = 1 / (1 + math.exp((math.cos(one) - math.cos(other)) / temperature))
    return p * math.hypot(math.cos(one) - math.cos(other), math.sin(one) - math.sin(other)) / temperature


def harder_negatives() -> tuple[bool, str]:
    """Check that the gradient grows as the negative nears the anchor; return whether, and where it does.

    Every angle of the positive in ``POSITIVES`` is tried, with the negative on either side of the anchor.
    """
    peaks = []
    for positive in POSITIVES:
        for side in (1, -1):
            lengths = [gradient_length(side * degrees, positive) for degrees in range(_DEGREES + 1)]
            if any(nearer < further for nearer, further in pairwise(lengths)):
                peaks.append(max(range(len(lengths)), key=lengths.__getitem__) if side < 0 else 0)
    apart = [peak for peak in peaks if peak]
    tried = f"positive at 0 to {POSITIVES[-1]} degrees, either side, tau {TEMPERATURE:g}"
    cases = f"{len(peaks)} of {2 * len(POSITIVES)} cases ({tried})"
    says = (
        "p_- grows as the negative nears the anchor, at every angle. The length of equation 6 for one positive and one"
        f" negative does not in {cases}: opposite to the positive it is largest with the negative at {min(apart)} to"
        f" {max(apart)} degrees and shrinks below, and it is 0 where the negative is the positive"
    )
    return not peaks, says


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {"harder-negatives": harder_negatives}
