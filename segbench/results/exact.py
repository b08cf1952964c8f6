"""Verdicts on what needs no training: counts match to the printed digit, times are compared as ratios."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from itertools import product

from segbench.recipe.figures import INCREASE, Figure

from .verdicts import FigureVerdict, Verdict

ALLOWANCE = 0.10  # of a time, which repeated measurements and machines of one kind differ by


def relate(figure: Figure, values: Sequence[float]) -> float:
    """Return a figure from the values of its row and its baseline row: the value, a gain, or an increase in percent."""
    if not figure.is_relative:
        return values[0]
    if figure.metric.endswith(INCREASE):
        return 100 * (values[0] - values[1]) / values[1]
    return values[0] - values[1]


def prints_as(value: float, figure: Figure) -> bool:
    """Return whether ``value`` rounds to the digits printed; a tie may go to even or up."""
    printed = figure.exact
    return printed in _roundings(value, figure.decimals)


def judge_exact(entry: FigureVerdict, values: Sequence[float], *, bases: Sequence[Figure] = ()) -> FigureVerdict:
    """Judge a count: reproduced if it prints as in the publication, else higher or lower.

    An increase or gain may have been computed by the authors from counts or from their own rounded figures; the
    difference shows in the last digit. Where the rounded ones give the printed value, that is what they did.

    Args:
        entry: verdict to complete.
        values: measured and unrounded: of the row, and of its baseline row.
        bases: printed figures behind a gain or increase, in the same order.
    """
    figure = entry.figure
    measured = relate(figure, values)
    if prints_as(measured, figure):
        return _completed(entry, measured, "reproduced", "")
    if figure.is_relative and len(bases) == 2:
        for pair in product(*(_roundings(value, base.decimals) for value, base in zip(values, bases, strict=True))):
            rounded = relate(figure, [float(side) for side in pair])
            if prints_as(rounded, figure):
                reason = f"from the rounded {pair[0]} and {pair[1]}; the unrounded give {measured:+.{figure.decimals}f}"
                return _completed(entry, rounded, "reproduced", reason)
    verdict: Verdict = "higher" if measured > figure.value else "lower"
    return _completed(entry, measured, verdict, "must match to the printed digit")


def judge_time(
    entry: FigureVerdict, values: Sequence[float], *, device: str, bases: Sequence[Figure] = ()
) -> FigureVerdict:
    """Judge a time: faster or slower than printed; seconds on other hardware are shown as their ratio.

    Where both rows of a pair are printed, their ratio is judged: it is reproduced if the printed one, with the rounding
    of both and an allowance of 10 %, holds it.

    Args:
        entry: verdict to complete.
        values: measured seconds: of the row, and of its baseline row.
        device: name of the device that measured.
        bases: printed figures of the two rows.
    """
    figure = entry.figure
    measured = relate(figure, values)
    where = f" on {device}" if device else ""
    if len(bases) == 2 and not figure.is_relative:
        row, over = bases
        low, high = (
            (row.value + sign * row.half_digit) / (over.value - sign * over.half_digit) for sign in (-1.0, 1.0)
        )
        low, high = low / (1 + ALLOWANCE), high * (1 + ALLOWANCE)
        share = values[0] / values[1]
        verdict: Verdict = "slower" if share > high else "faster" if share < low else "reproduced"
        return _completed(entry, measured, verdict, compared_times(figure, values, bases) + where)
    ratio = "measured" if figure.is_relative else f"{measured / figure.value:.2f} x the printed time"
    reason = ratio + where
    # An increase in percent is that of a ratio, which is what is compared.
    scale, printed = (0.01, 1 + figure.value / 100) if figure.metric.endswith(INCREASE) else (1.0, figure.value)
    low, high = (printed + sign * scale * figure.half_digit for sign in (-1.0, 1.0))
    if low / (1 + ALLOWANCE) <= printed + scale * (measured - figure.value) <= high * (1 + ALLOWANCE):
        return _completed(entry, measured, "reproduced", reason)
    return _completed(entry, measured, "slower" if measured > figure.value else "faster", reason)


def compared_times(figure: Figure, values: Sequence[float], bases: Sequence[Figure]) -> str:
    """Compare a measured time with the other row's, or with the printed one if there is no other row."""
    if len(values) < 2 or len(bases) < 2:
        return f"{values[0] / figure.value:.2f} x the printed time"
    printed = bases[0].value / bases[1].value
    return f"{values[0] / values[1]:.2f} x the time of {figure.over}, printed {printed:.2f} x"


def _completed(entry: FigureVerdict, measured: float, verdict: Verdict, reason: str) -> FigureVerdict:
    difference = measured - entry.figure.value
    return replace(entry, verdict=verdict, measured=measured, difference=difference, reason=reason)


def _roundings(value: float, decimals: int) -> list[Decimal]:
    digit = Decimal(1).scaleb(-decimals)
    exact = Decimal(repr(value))
    return [exact.quantize(digit, ROUND_HALF_EVEN), exact.quantize(digit, ROUND_HALF_UP)]
