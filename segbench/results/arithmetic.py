"""The arithmetic of one verdict, line by line, so that it can be checked by hand."""

from collections.abc import Iterator, Sequence

from .decisions import levels
from .rescored import TOLERANCE
from .statistics import Spread, expected_maximum, t_quantile
from .verdicts import RESCORED, VERDICTS, FigureVerdict, Gain, TableReport


def explain(report: TableReport, entry: FigureVerdict) -> list[str]:
    """Return the arithmetic of a figure's verdict, and of its gain if it has one.

    Args:
        report: report that holds the figure.
        entry: the figure with its verdict.
    """
    figure = entry.figure
    lines = [f"{report.table}/{figure.row} · {figure.dataset} {figure.split} · {figure.metric}", _printed(entry)]
    lines += list(_number(entry)) if entry.error is not None else []
    lines.append(_verdict(entry))
    for each in entry.rescored:
        reason = f" ({each.reason})" if each.reason else ""
        limit = f"printed to {figure.half_digit:g}, numerical tolerance {TOLERANCE:g}"
        lines.append(
            f"re-scored   {each.weights}: {each.value:.4f} - {figure.value:g} = {each.difference:+.4f}, {limit}"
        )
        lines.append(f"            {each.word}: {RESCORED[each.word]}{reason}")
    section = (figure.dataset, figure.split, figure.base_metric)
    for gain in report.gains:
        if gain.section == section and gain.row == figure.row:
            lines += ["", *_gain(gain)]
    return lines


def _printed(entry: FigureVerdict) -> str:
    figure = entry.figure
    runs = f"runs behind it m = {figure.runs}" if figure.runs else "runs: unstated, computed with m = 1"
    read = f", read as {figure.read_as}" if figure.read_as else ""
    return f"printed     P = {figure.printed}{read}, rounded by at most r = {figure.rounding:g}; {runs}"


def _number(entry: FigureVerdict) -> Iterator[str]:
    figure, spread = entry.figure, entry.spread
    error, df, margin = entry.error or 0.0, entry.df or 0.0, entry.margin or 0.0
    difference, raw = entry.difference or 0.0, (entry.measured or 0.0) - figure.value
    yield f"here        {_values(entry.values, entry.seeds)}, mean {entry.measured:.4f}"
    yield f"difference  d = {entry.measured:.4f} - {figure.value:g} = {raw:+.4f}"
    if figure.best_of and spread is not None:
        lift = expected_maximum(figure.best_of)
        yield f"            the print is the best of {figure.best_of}: + {lift:.3f} s = {difference:+.4f}"
    if figure.tolerance:
        yield f"            beyond the tolerance of {figure.tolerance:g}: {entry.beyond:+.4f}"
    if spread is not None:
        yield f"spread      {_spread(spread)}"
    sides = "sum over both rows of s^2 (1/n + 1/m)" if figure.is_relative else "s^2 (1/n + 1/m)"
    counts = f"n = {len(entry.seeds)}, m = {figure.runs or 1}"
    yield f"error       square root of {sides}, {counts}: {error:.4f} with {df:.3g} degrees of freedom"
    yield f"margin      M = {margin:g}, fixed by the printed table"
    d = entry.beyond
    if entry.looks > 1:
        yield f"looks       {entry.looks}: each interval allows 1 / {entry.looks} of the error"
    both = levels(entry.looks)
    for level, half, name in zip(both, (entry.narrow or 0.0, entry.half_width or 0.0), ("90 %", "95 %"), strict=True):
        t = t_quantile(df, (1 + level) / 2)
        interval = f"{d - half:+.4f} to {d + half:+.4f}"
        against = f"against -{margin:g} to +{margin:g}" if name == "90 %" else "does it hold 0?"
        yield f"{name}        d -/+ ({t:.3f} * {error:.4f} + {figure.rounding:g}) = {interval}, {against}"


def _verdict(entry: FigureVerdict) -> str:
    reason = f" ({entry.reason})" if entry.reason else ""
    return f"verdict     {entry.word}: {VERDICTS[entry.verdict]}{reason}"


def _gain(gain: Gain) -> Iterator[str]:
    printed = "no printed gain" if gain.printed is None else f"printed gain {gain.printed:+g}"
    yield f"{gain.name} over {gain.over_title}: {printed}, here {gain.measured:+.4f}"
    if gain.error is None or gain.half_width is None:
        yield f"answer      {gain.word}: no spread over seeds is known"
        return
    how = f"differences by seed, correlation {gain.correlation:.2f}" if gain.paired else "both rows' s^2 / n"
    yield f"error       from {how}: {gain.error:.4f} with {gain.df:.3g} degrees of freedom"
    low, high = gain.measured - gain.half_width, gain.measured + gain.half_width
    narrow_level, wide_level = levels(gain.looks)
    t = t_quantile(gain.df, (1 + wide_level) / 2)
    yield f"95 %        {gain.measured:+.4f} -/+ {t:.3f} * {gain.error:.4f} = {low:+.4f} to {high:+.4f}"
    if gain.printed is not None:
        narrow = t_quantile(gain.df, (1 + narrow_level) / 2) * gain.error
        half = abs(gain.printed) / 2
        against = f"half the printed gain, -{half:g} to +{half:g}"
        yield f"90 %        {gain.measured:+.4f} -/+ {narrow:.4f}, against {against}"
    yield f"answer      {gain.word}"


def _values(values: Sequence[float], seeds: Sequence[int]) -> str:
    listed = ", ".join(f"{value:.2f}" for value in values)
    return f"n = {len(seeds)} seeds: {listed}" if len(seeds) != 1 else f"n = 1 seed: {listed}"


def _spread(spread: Spread) -> str:
    origin = spread.source or (f"pooled over {spread.groups} rows" if spread.groups > 1 else "of this row alone")
    note = f"; {spread.note}" if spread.note else ""
    return f"s = {spread.s:.4f} with {spread.df:.3g} degrees of freedom, {origin}{note}"
