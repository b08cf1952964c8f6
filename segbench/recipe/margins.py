"""Margins: the largest difference from a printed value that still counts as the same value."""

from .figures import METRICS, Figure
from .tables import Table

LEAST, UNCLAIMED = 0.3, 1.0  # points of a score in percent: the least margin, and that of a table without gains


def margin_of(table: Table, figure: Figure) -> float:
    """Return the margin of a figure, in the unit of its metric.

    It follows from the printed figures alone, so it is fixed before anything runs: half the smallest gain that the
    table claims on this data set and split, never below 0.3 points, and 1.0 where it claims none. A gain is claimed
    where it is printed, or where a row that improves on another one is printed above it. A table may set a margin for a
    metric itself, which it must for metrics that are no percentages.
    """
    given = table.file.margin
    found = given.get(figure.metric, given.get(figure.base_metric))
    if found is None:
        claimed = claimed_gains(table, figure)
        percent = METRICS[figure.base_metric].unit == "%"
        least = LEAST if percent else 0.0
        found = max(least, min(claimed) / 2) if claimed else UNCLAIMED
    return found


def claimed_gains(table: Table, figure: Figure) -> list[float]:
    """Return the gains above 0 that a table claims for the metric of a figure, on its data set and split."""
    own = [
        other
        for other in table.figures()
        if (other.dataset, other.split, other.base_metric) == (figure.dataset, figure.split, figure.base_metric)
        and other.headline
    ]
    plain = {other.row: other for other in own if not other.is_relative}
    gains = {other.row: other.exact for other in own if other.is_relative}
    for row, other in plain.items():
        over = plain.get(table.over(row) or "")
        if over is not None and row not in gains:
            gains[row] = other.exact - over.exact
    return [float(gain) for gain in gains.values() if gain > 0]
