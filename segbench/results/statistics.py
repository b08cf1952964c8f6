"""Statistics behind a verdict: spreads, intervals, seeds that would decide, and Holm's correction."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from scipy import special

LEVEL = 0.05
MIN_SEEDS = 3  # fewer do not give a spread by themselves
_MANY = 10**9


@dataclass(frozen=True)
class Spread:
    """Standard deviation over runs that differ by seed alone.

    Attributes:
        s: standard deviation.
        df: degrees of freedom behind ``s``.
        groups: number of groups of seeds that were pooled.
        source: origin of a borrowed spread; empty if measured here.
        label: name of the pool; sides of one label share their degrees of freedom.
    """

    s: float
    df: int
    groups: int = 1
    source: str = ""
    label: str = ""


@dataclass(frozen=True)
class Side:
    """One mean on one side of a comparison: ``seeds`` runs here against a printed mean of ``runs``."""

    spread: Spread
    seeds: int
    runs: int

    @property
    def factor(self) -> float:
        """Variance of the difference of both means, in units of the variance of one run."""
        return 1 / self.seeds + 1 / self.runs


def t_quantile(df: float, probability: float = 1 - LEVEL / 2) -> float:
    """Return a quantile of Student's t distribution."""
    return float(special.stdtrit(df, probability))


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (divisor n - 1); None for fewer than two values."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def pool(groups: Iterable[Sequence[float]], *, label: str = "") -> Spread | None:
    """Return the pooled spread, s^2 = sum (n_g - 1) s_g^2 / sum (n_g - 1); None without a group of two or more."""
    squares, df, used = 0.0, 0, 0
    for values in groups:
        own = deviation(values)
        if own is not None:
            squares += (len(values) - 1) * own**2
            df += len(values) - 1
            used += 1
    return Spread(math.sqrt(squares / df), df, used, label=label) if df else None


def error_of(sides: Sequence[Side]) -> tuple[float, float]:
    """Return the standard error of a difference and its degrees of freedom.

    The variances of the sides add up: s^2 (1/n + 1/m) each. Sides of one spread share its degrees of freedom;
    different spreads are combined by Satterthwaite's formula.
    """
    variances: dict[Spread, float] = {}
    for side in sides:
        variances[side.spread] = variances.get(side.spread, 0.0) + side.spread.s**2 * side.factor
    total = math.fsum(variances.values())
    if len(variances) == 1 or total == 0:
        return math.sqrt(total), float(min(spread.df for spread in variances))
    df = total**2 / math.fsum(variance**2 / spread.df for spread, variance in variances.items())
    return math.sqrt(total), df


def half_width(sides: Sequence[Side], rounding: float) -> float:
    """Return t(df, 97.5 %) * standard error + rounding; for one side t * s * sqrt(1/n + 1/m) + r."""
    error, df = error_of(sides)
    return t_quantile(df) * error + rounding


def p_value(difference: float, sides: Sequence[Side], rounding: float) -> float:
    """Return the two-sided p-value of a difference beyond its rounding; below 5 % exactly where |d| > half-width."""
    beyond = abs(difference) - rounding
    if beyond <= 0:
        return 1.0
    error, df = error_of(sides)
    if error == 0:
        return 0.0
    return float(2 * special.stdtr(df, -beyond / error))


def seeds_needed(sides: Sequence[Side], rounding: float, margin: float) -> int | None:
    """Return the smallest number of seeds on every side with half-width <= margin, at an unchanged spread.

    Returns:
        None if none can: the printed value rests on too few runs, or its rounding is too coarse.
    """

    def wide(seeds: int) -> bool:
        return half_width(_with_seeds(sides, seeds), rounding) > margin

    if wide(_MANY):
        return None
    low, high = 0, 1
    while wide(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wide(middle) else (low, middle)
    return high


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


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Pearson's correlation; None for fewer than three pairs or a side that never varies."""
    if len(pairs) < 3:
        return None
    means = [math.fsum(side) / len(pairs) for side in zip(*pairs, strict=True)]
    centred = [(a - means[0], b - means[1]) for a, b in pairs]
    squares = math.fsum(a * a for a, _ in centred) * math.fsum(b * b for _, b in centred)
    return math.fsum(a * b for a, b in centred) / math.sqrt(squares) if squares > 0 else None
