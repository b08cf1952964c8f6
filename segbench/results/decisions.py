"""Two questions of a trained figure, as arithmetic: is it the printed number, and does the claimed gain exist here.

Both rest on a difference with its standard error and degrees of freedom, see ``statistics``. How often each word is
wrong is simulated, not believed: docs/verdicts.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal

from scipy import special

from .statistics import LEVEL, Side, Spread, error_of, half_width, t_quantile

NumberVerdict = Literal["reproduced", "lower", "higher", "consistent", "differs"]
GainVerdict = Literal["gain holds", "gain reversed", "no such gain", "gain unclear"]
EQUIVALENCE = 0.90  # level of the interval of two one-sided tests at 5 % each
POWER = 0.80
_MOST = 1000  # seeds; more are no advice
_QUANTILES = 200


def levels(looks: int) -> tuple[float, float]:
    """Return the levels of the interval for equivalence and of that for a difference.

    They are 90 and 95 % at the first look; at the k-th look, with seeds that were added to results, a k-th of the error
    is allowed, so that looking again makes no word wrong more often.
    """
    return 1 - (1 - EQUIVALENCE) / looks, 1 - LEVEL / looks


def number_verdict(
    difference: float, sides: Sequence[Side], *, rounding: float, margin: float, looks: int = 1
) -> NumberVerdict:
    """Compare a measured with a printed number.

    The 90 % interval of the difference, widened by the rounding, is held against the margin on either side: inside, the
    number is reproduced; wholly outside, it is lower or higher. Otherwise it is consistent if the 95 % interval of the
    difference, which foretells a further mean of as many runs as were printed, holds 0, and differs if not.

    Args:
        difference: measured less printed.
        sides: the mean here with its spread, and the number of printed runs; two of them for a gain.
        rounding: largest error of the printed number.
        margin: largest difference that counts as the same number.
        looks: times that seeds were planned, see `levels`.
    """
    narrow, wide = levels(looks)
    half = half_width(sides, rounding, level=narrow)
    if abs(difference) + half <= margin:
        return "reproduced"
    if abs(difference) - half > margin:
        return "higher" if difference > 0 else "lower"
    return "consistent" if abs(difference) <= half_width(sides, rounding, level=wide) else "differs"


def gain_verdict(gain: float, error: float, df: float, *, printed: float | None, looks: int = 1) -> GainVerdict:
    """Say whether a gain exists here, from our own rows alone.

    Args:
        gain: mean of the row less mean of the row it improves on.
        error: its standard error.
        df: degrees of freedom behind the error.
        printed: the printed gain, not 0; below 0 where less is better. None if none is printed: more is better, and
            nothing says how small a gain would be none.
        looks: times that seeds were planned, see `levels`.
    """
    ahead = math.copysign(1.0, printed or 1.0) * gain
    narrow_level, wide_level = levels(looks)
    half = t_quantile(df, (1 + wide_level) / 2) * error
    if ahead - half > 0:
        return "gain holds"
    if ahead + half < 0:
        return "gain reversed"
    if printed is None:
        return "gain unclear"
    narrow = t_quantile(df, (1 + narrow_level) / 2) * error
    return "no such gain" if abs(gain) + narrow <= abs(printed) / 2 else "gain unclear"


def seeds_for_number(sides: Sequence[Side], *, rounding: float, margin: float) -> int | None:
    """Return the fewest seeds a row that decide in 80 % of cases whether the number is the printed one, if it is.

    Returns:
        None if no number up to 1,000 does: the print rests on too few runs, or its rounding is too coarse.
    """

    def power(seeds: int) -> float:
        error, df = error_of(_with_seeds(sides, seeds))
        room = margin - rounding
        if error == 0:
            return float(room >= 0)
        quantile = float(special.stdtrit(df, (1 + EQUIVALENCE) / 2))
        # The spread that will be estimated is itself random, in units of the true one.
        parts = (2 * float(special.ndtr(max(0.0, room / error - quantile * s))) - 1 for s in _estimates(df))
        return math.fsum(parts) / _QUANTILES

    return _fewest(power)


def seeds_for_gain(spreads: Sequence[Spread], *, printed: float) -> int | None:
    """Return the fewest seeds a row that show the printed gain in 80 % of cases, if it is true; None as above."""

    def power(seeds: int) -> float:
        sides = [Side(spread, 1) for spread in spreads]
        error, df = error_of(_with_seeds(sides, seeds))
        if error == 0:
            return 1.0
        quantile = float(special.stdtrit(df, 0.975))
        parts = (float(special.ndtr(abs(printed) / error - quantile * s)) for s in _estimates(df))
        return math.fsum(parts) / _QUANTILES

    return _fewest(power)


def smallest_margin(sides: Sequence[Side], *, rounding: float) -> float:
    """Return the smallest margin that endless seeds decide in 80 % of cases: the print's own error remains."""
    remaining = math.fsum(side.spread.s**2 / side.runs for side in sides if side.runs)
    sure, often = float(special.ndtri((1 + EQUIVALENCE) / 2)), float(special.ndtri((1 + POWER) / 2))
    return rounding + (sure + often) * math.sqrt(remaining)


def _fewest(power: Callable[[int], float]) -> int | None:
    if power(_MOST) < POWER:
        return None
    low, high = 1, 2
    while power(high) < POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


@cache
def _estimates(df: float) -> tuple[float, ...]:
    """Return equally likely estimates of a standard deviation of 1 from ``df`` degrees of freedom."""
    shares = ((place + 0.5) / _QUANTILES for place in range(_QUANTILES))
    return tuple(math.sqrt(float(special.chdtri(df, 1 - share)) / df) for share in shares)


def _with_seeds(sides: Sequence[Side], seeds: int) -> list[Side]:
    """Return the sides with at least so many seeds; new ones add degrees of freedom to a spread measured here."""
    added: dict[Spread, int] = {}
    for side in sides:
        new = 0 if side.spread.source else max(0, seeds - side.seeds)
        added[side.spread] = added.get(side.spread, 0) + new
    return [
        replace(
            side,
            spread=replace(side.spread, df=side.spread.df + added[side.spread]),
            seeds=max(side.seeds, seeds),
        )
        for side in sides
    ]
