"""Which gains have the published sign: all that runs at another size or on other data can say of a method."""

from collections.abc import Iterator
from dataclasses import dataclass

from segbench.recipe.figures import Figure

from .attempts import value_of
from .verdicts import RowReport, TableReport, Tried


@dataclass(frozen=True)
class Gain:
    """What a row has over the row that it improves on, as printed and as measured.

    Attributes:
        row, over: names of the two rows.
        title: of the row; ``over_title`` of the other.
        readings: of the row, other than by default.
        printed, measured: differences of the metric.
        seeds: the fewer of both rows' seeds.
    """

    row: str
    over: str
    title: str
    over_title: str
    readings: dict[str, str]
    printed: float
    measured: float
    seeds: int

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

    Each reading that a row was tried under counts by itself, at the budget, on the data and with the settings of the
    attempt that is shown.

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
            base = next((each for each in _like_the_shown(over) if _alike(each, tried)), None)
            ours, theirs = (_values(each, figures[of.row]) for each, of in ((tried, row), (base, over)))
            if ours and theirs:
                found.append(
                    Gain(
                        name, over.row, row.title, over.title, tried.readings,
                        figures[name].value - figures[over.row].value,
                        sum(ours) / len(ours) - sum(theirs) / len(theirs),
                        min(len(ours), len(theirs)),
                    )
                )  # fmt: skip
    return found


def _like_the_shown(row: RowReport) -> Iterator[Tried]:
    """The attempt that is shown, and those that differ from it in readings alone."""
    if row.shown is not None:
        yield row.shown
        shown = str(row.shown)
        yield from (each for each in row.attempts if str(each) != shown and _alike(each, row.shown))


def _alike(one: Tried, other: Tried) -> bool:
    """Whether both ran at one budget, on the same data and with the same settings."""
    first, second = one.resolved.request, other.resolved.request
    return (first.budget, first.on, first.settings) == (second.budget, second.on, second.settings)


def _values(tried: Tried | None, figure: Figure) -> list[float]:
    records = () if tried is None else tried.records
    return [value for record in records if (value := value_of(record, figure)) is not None]
