"""Statistics behind a verdict: spreads and whether they may be pooled, errors, intervals, Holm's correction."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from scipy import special

LEVEL = 0.05
MIN_SEEDS = 3  # fewer do not give a spread by themselves


@dataclass(frozen=True)
class Spread:
    """Standard deviation over runs that differ by seed alone.

    Attributes:
        s: standard deviation.
        df: degrees of freedom behind ``s``.
        groups: number of groups of seeds that were pooled.
        source: origin of a borrowed spread; empty if measured here.
        label: name of the pool; sides of one label share their degrees of freedom.
        note: remark on how it was chosen.
    """

    s: float
    df: float
    groups: int = 1
    source: str = ""
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class Side:
    """One mean on one side of a comparison: ``seeds`` runs here against a printed mean of ``runs``, or against none."""

    spread: Spread
    seeds: int
    runs: int | None = None

    @property
    def factor(self) -> float:
        """Variance of the difference of both means, in units of the variance of one run."""
        return 1 / self.seeds + (1 / self.runs if self.runs else 0.0)


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


def half_width(sides: Sequence[Side], rounding: float, *, level: float = 1 - LEVEL) -> float:
    """Return t * standard error + rounding, half the width of a two-sided interval.

    Args:
        sides: the means that are compared.
        rounding: largest error of the printed value.
        level: confidence, between 0 and 1.
    """
    error, df = error_of(sides)
    return t_quantile(df, (1 + level) / 2) * error + rounding


def p_value(difference: float, sides: Sequence[Side], rounding: float) -> float:
    """Return the two-sided p-value of a difference beyond its rounding; below 5 % exactly where |d| > half-width."""
    beyond = abs(difference) - rounding
    if beyond <= 0:
        return 1.0
    error, df = error_of(sides)
    if error == 0:
        return 0.0
    return float(2 * special.stdtr(df, -beyond / error))


def intraclass(groups: Sequence[Mapping[int, float]]) -> float:
    """Return the correlation of equal seeds between groups, at least 0, by a two-way analysis of variance.

    Seeds that every group has are used; 0 for fewer than two groups or two such seeds.
    """
    seeds = sorted(set.intersection(*map(set, groups))) if groups else []
    rows, columns = len(groups), len(seeds)
    if rows < 2 or columns < 2:
        return 0.0
    values = [[group[seed] for seed in seeds] for group in groups]
    means = [math.fsum(row) / columns for row in values]
    centred = [[value - mean for value in row] for row, mean in zip(values, means, strict=True)]
    of_seeds = [math.fsum(column) / rows for column in zip(*centred, strict=True)]
    between = rows * math.fsum(effect**2 for effect in of_seeds) / (columns - 1)
    rest = math.fsum((value - effect) ** 2 for row in centred for value, effect in zip(row, of_seeds, strict=True))
    within = rest / ((rows - 1) * (columns - 1))
    return max(0.0, (between - within) / (between + (rows - 1) * within)) if between + within > 0 else 0.0


def brown_forsythe(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the p-value of equal variances: an analysis of variance of the distances from the medians.

    Groups of fewer than three values are left out: their distances are all alike. None for fewer than two groups.

    Source: Brown and Forsythe, Robust tests for the equality of variances, JASA 69 (1974).
    """
    distances = []
    for values in groups:
        if len(values) >= MIN_SEEDS:
            ordered = sorted(values)
            middle = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
            distances.append([abs(value - middle) for value in values])
    if len(distances) < 2:
        return None
    count = sum(map(len, distances))
    whole = math.fsum(value for each in distances for value in each) / count
    means = [math.fsum(each) / len(each) for each in distances]
    between = math.fsum(len(each) * (mean - whole) ** 2 for each, mean in zip(distances, means, strict=True))
    within = math.fsum((value - mean) ** 2 for each, mean in zip(distances, means, strict=True) for value in each)
    above, below = len(distances) - 1, count - len(distances)
    if within == 0:
        return 1.0 if between == 0 else 0.0
    return float(special.fdtrc(above, below, between / above / (within / below)))


@cache
def expected_maximum(count: int) -> float:
    """Return the expected largest of ``count`` draws of a standard normal law, by the trapezoidal rule."""
    step = 1e-3
    grid = [-9 + step * place for place in range(round(18 / step) + 1)]
    densities = (math.exp(-x * x / 2) / math.sqrt(2 * math.pi) * float(special.ndtr(x)) ** (count - 1) for x in grid)
    return step * count * math.fsum(x * density for x, density in zip(grid, densities, strict=True))


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


def correlation_p(r: float, pairs: int) -> float:
    """Return the one-sided p-value of a correlation above 0 over a number of pairs, at least 3."""
    if abs(r) >= 1:
        return 0.0 if r > 0 else 1.0
    t = r * math.sqrt((pairs - 2) / (1 - r * r))
    return float(special.stdtr(pairs - 2, -t))
