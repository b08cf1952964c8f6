"""Gains of rows over the rows they improve on, from our own runs alone: does the claimed gain exist here?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from segbench.recipe.figures import Figure

from .decisions import GainVerdict, gain_verdict, levels, seeds_for_gain
from .pools import Pools
from .statistics import LEVEL, Side, Spread, correlation, correlation_p, deviation, error_of, t_quantile
from .variants import values_of
from .verdicts import Gain, RowReport, RowVariant, SectionKey, TableReport

_PAIRS = 6  # common seeds from which on a correlation can narrow the interval


@dataclass(frozen=True)
class GainEstimate:
    """Estimate of a gain from our own two rows.

    Attributes:
        gain: difference of the means over seeds.
        error: its standard error; ``df`` its degrees of freedom. None without a spread.
        correlation: over common seeds; None for fewer than three.
        paired: whether the error is that of the differences by seed.
    """

    gain: float
    error: float | None
    df: float
    correlation: float | None
    paired: bool


def estimate_gain(ours: Mapping[int, float], theirs: Mapping[int, float], sides: Sequence[Side] | None) -> GainEstimate:
    """Estimate a gain from the values of both rows by seed.

    Equal seeds pair nothing by themselves, as a method changes every draw after the first. From six common seeds on a
    correlation above 0 (one-sided, 5 %) is used: the error is then that of the differences by seed.

    Args:
        ours, theirs: values by seed.
        sides: both rows with their spreads; None if one has none.
    """
    gain = sum(ours.values()) / len(ours) - sum(theirs.values()) / len(theirs)
    common = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    r = correlation(common)
    if r is not None and len(common) >= _PAIRS and correlation_p(r, len(common)) < LEVEL:
        apart = [a - b for a, b in common]
        error = (deviation(apart) or 0.0) / len(apart) ** 0.5
        return GainEstimate(sum(apart) / len(apart), error, len(apart) - 1, r, True)
    if sides is None:
        return GainEstimate(gain, None, 0.0, r, False)
    error, df = error_of(sides)
    return GainEstimate(gain, error, df, r, False)


def measure_gains(report: TableReport, pools: Pools) -> Iterator[Gain]:
    """Yield the gains of a table's rows over rows that were run alike, section by section, in the order printed.

    Rows of which nothing is printed come last, by their mIoU.

    Of a row the variant that is shown counts; variants that differ from it in readings alone are listed too. Two rows
    were run alike at the same budget, on the same data, with the same settings, and with the same option of every
    reading that both rows have; without such a run there is no gain.
    """
    sections: dict[SectionKey, dict[str, Figure]] = {}
    for entry in report.entries:
        figure = entry.figure
        if not figure.is_relative and figure.headline and figure.kind in ("trained", "feature"):
            sections.setdefault((figure.dataset, figure.split, figure.base_metric), {})[figure.row] = figure
    for section, unprinted in report.unprinted().items():
        sections[section] = {row.row: _nothing_printed(report.table, row.row, section) for row in unprinted}
    for section, figures in sections.items():
        own = {row.row: row for row in report.rows if row.dataset == section[0] and row.row in figures}
        for name, row in own.items():
            over = own.get(row.over or "")
            for variant in _like_the_shown(row) if over is not None else ():
                assert over is not None
                base = alike_variant(over, variant, figures[over.row])
                if base is not None and values_of(variant, figures[name]):
                    yield _gain(section, row, over, variant, base, (figures[name], figures[over.row]), pools)


def measured_gain(
    variant: RowVariant, base: RowVariant, figures: tuple[Figure, Figure], pools: Pools
) -> tuple[GainEstimate, list[Spread], float | None, int]:
    """Measure a gain of one variant over another.

    Returns:
        The estimate, the spreads behind it, half the width of its 95 % interval (None without a spread), and the number
        of looks that the interval is held to.
    """
    values = [values_of(side, figure) for side, figure in zip((variant, base), figures, strict=True)]
    spreads = [pools.spread(side, figure) for side, figure in zip((variant, base), figures, strict=True)]
    known = [spread for spread in spreads if spread is not None]
    sides = None
    if len(known) == len(spreads):
        sides = [Side(spread, len(each)) for spread, each in zip(known, values, strict=True)]
    found, looks = estimate_gain(values[0], values[1], sides), max(variant.looks, base.looks)
    half = None
    if found.error is not None:
        half = t_quantile(found.df, (1 + levels(looks)[1]) / 2) * found.error
    return found, known, half, looks


def _gain(
    section: SectionKey,
    row: RowReport,
    over: RowReport,
    variant: RowVariant,
    base: RowVariant,
    figures: tuple[Figure, Figure],
    pools: Pools,
) -> Gain:
    ours, theirs = values_of(variant, figures[0]), values_of(base, figures[1])
    printed = None
    if all(figure.printed for figure in figures):
        printed = round(figures[0].value - figures[1].value, max(figure.decimals for figure in figures))
    found, known, half, looks = measured_gain(variant, base, figures, pools)
    answer: GainVerdict = "gain unclear"
    if found.error is not None and printed != 0:
        answer = gain_verdict(found.gain, found.error, found.df, printed=printed, looks=looks)
    fewest = min(len(ours), len(theirs))
    short = any(len(values) < len(each.planned) for values, each in zip((ours, theirs), (variant, base), strict=True))
    return Gain(
        section, row.row, over.row, row.title, over.title, variant.readings, printed,
        round(found.gain, 2) + 0.0,  # and no -0.0
        fewest, variant is row.shown, answer,
        provisional=fewest == 1 or short or any(spread.source for spread in known),
        error=found.error,
        df=found.df,
        looks=looks,
        source=next((spread.source for spread in known if spread.source), ""),
        half_width=half,
        correlation=found.correlation,
        paired=found.paired,
        seeds_needed=seeds_for_gain(known, printed=printed) if len(known) == 2 and printed else None,
    )  # fmt: skip


def _nothing_printed(table: str, row: str, section: SectionKey) -> Figure:
    """Return the figure of a row without a printed value; its name, data set and metric alone can be asked for."""
    return Figure(table, row, *section, printed="")


def _like_the_shown(row: RowReport) -> Iterator[RowVariant]:
    """Yield the variant that is shown, then those that differ from it in readings alone."""
    if row.shown is not None:
        yield row.shown
        label = row.shown.label
        yield from (each for each in row.attempts if each.label != label and _alike(each, row.shown))


def alike_variant(over: RowReport, variant: RowVariant, figure: Figure) -> RowVariant | None:
    """Return the variant of the other row that was run alike; of several the one with the fewest own readings."""
    options = {use.name: use.option for use in variant.resolved.readings}
    alike = [
        each
        for each in over.attempts
        if _alike(each, variant)
        and all(options.get(use.name, use.option) == use.option for use in each.resolved.readings)
        and values_of(each, figure)
    ]
    return min(alike, key=lambda each: len(each.readings), default=None)


def _alike(one: RowVariant, other: RowVariant) -> bool:
    """Return whether both ran at one budget, on the same data and with the same settings."""
    first, second = one.resolved.request, other.resolved.request
    return (first.budget, first.on, first.settings) == (second.budget, second.on, second.settings)
