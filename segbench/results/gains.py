"""Which gains have the published sign: all that runs at another size or on other data can say of a method."""

from collections.abc import Iterator
from dataclasses import dataclass

from segbench.recipe.figures import Figure

from .attempts import value_of
from .verdicts import RowReport, TableReport, Tried


@dataclass(frozen=True)
class Gain:
    """What a row has over the row that it improves on, by the printed figures and as measured.

    Attributes:
        row, over: names of the two rows.
        title: of the row; ``over_title`` of the other.
        readings: of the row, other than by default.
        printed: difference of the printed figures, in their digits.
        measured: difference of the means over seeds, as it is shown (two decimals).
        seeds: the fewer of both rows' seeds.
        counts: whether it is that of the attempt shown. A row that was tried under other readings as well has one
            published gain all the same: whoever tries until the sign fits is not to gain by it.
    """

    row: str
    over: str
    title: str
    over_title: str
    readings: dict[str, str]
    printed: float
    measured: float
    seeds: int
    counts: bool

    @property
    def same_sign(self) -> bool:
        return self.printed * self.measured > 0

    @property
    def name(self) -> str:
        """The row's title, and what it was read as where that is not the default."""
        readings = ", ".join(f"{name}={option}" for name, option in self.readings.items())
        return f"{self.title} ({readings})" if readings else self.title


def gains(report: TableReport, section: tuple[str, str, str]) -> list[Gain]:
    """Gains of the rows of a section over rows that were run like them, in the order printed.

    A row's attempts are the one that is shown and those that differ from it in readings alone. The other row was run
    like it at the same budget, on the same data, with the same settings and with every reading that is open for both
    read alike; where there is no such run there is no gain.

    Args:
        report: of a table.
        section: data set, split and metric.
    """
    figures = {
        entry.figure.row: entry.figure
        for entry in report.sections()[section]
        if not entry.figure.is_relative and entry.figure.headline and entry.figure.kind in ("trained", "feature")
    }
    rows = {row.row: row for row in report.rows if row.dataset == section[0] and row.row in figures}
    found = []
    for name, row in rows.items():
        over = rows.get(row.over or "")
        for tried in _like_the_shown(row) if over is not None else ():
            assert over is not None
            base = _base(over, tried, figures[over.row])
            ours, theirs = (_values(each, figures[of.row]) for each, of in ((tried, row), (base, over)))
            if ours and theirs:
                digits = max(figures[each].decimals for each in (name, over.row))
                found.append(
                    Gain(
                        name, over.row, row.title, over.title, tried.readings,
                        round(figures[name].value - figures[over.row].value, digits),
                        round(sum(ours) / len(ours) - sum(theirs) / len(theirs), 2) + 0.0,  # and no -0.0
                        min(len(ours), len(theirs)), tried is row.shown,
                    )
                )  # fmt: skip
    return found


def _like_the_shown(row: RowReport) -> Iterator[Tried]:
    """The attempt that is shown, and those that differ from it in readings alone."""
    if row.shown is not None:
        yield row.shown
        shown = str(row.shown)
        yield from (each for each in row.attempts if str(each) != shown and _alike(each, row.shown))


def _base(over: RowReport, tried: Tried, figure: Figure) -> Tried | None:
    """The run of the other row that an attempt is to be held against; that with the fewest readings of its own."""
    options = {use.name: use.option for use in tried.resolved.readings}
    alike = [
        each
        for each in over.attempts
        if _alike(each, tried)
        and all(options.get(use.name, use.option) == use.option for use in each.resolved.readings)
        and _values(each, figure)
    ]
    return min(alike, key=lambda each: len(each.readings), default=None)


def _alike(one: Tried, other: Tried) -> bool:
    """Whether both ran at one budget, on the same data and with the same settings."""
    first, second = one.resolved.request, other.resolved.request
    return (first.budget, first.on, first.settings) == (second.budget, second.on, second.settings)


def _values(tried: Tried | None, figure: Figure) -> list[float]:
    records = () if tried is None else tried.records
    return [value for record in records if (value := value_of(record, figure)) is not None]
