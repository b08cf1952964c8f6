"""Gains and their signs: all that runs at another size or on other data can say about a method."""

from collections.abc import Iterator
from dataclasses import dataclass

from segbench.recipe.figures import Figure

from .variants import values_of
from .verdicts import RowReport, RowVariant, SectionKey, TableReport


@dataclass(frozen=True)
class Gain:
    """Gain of a row over the row that it improves on, by the printed figures and as measured.

    Attributes:
        row, over: names of the two rows.
        title: title of the row; ``over_title`` is that of the other.
        readings: readings of the row other than the default ones.
        printed: difference of the printed figures, in their digits.
        measured: difference of the means over seeds, as it is shown (two decimals).
        seeds: the fewer of both rows' seeds.
        counts: whether it is the gain of the variant shown. A row that was run under other readings as well still
            has one published gain, so that trying readings until the sign fits wins nothing.
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
        """Title of the row, with the readings that are not the default."""
        readings = ", ".join(f"{name}={option}" for name, option in self.readings.items())
        return f"{self.title} ({readings})" if readings else self.title


def gains(report: TableReport, section: SectionKey) -> list[Gain]:
    """Return the gains of a section's rows over rows that were run alike, in the order printed.

    Of a row the variant that is shown counts; variants that differ from it in readings alone are listed too. Two rows
    were run alike at the same budget, on the same data, with the same settings, and with the same option of every
    reading that both rows have; without such a run there is no gain.

    Args:
        report: report of the table.
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
        for variant in _like_the_shown(row) if over is not None else ():
            assert over is not None
            base = _base(over, variant, figures[over.row])
            ours = [*values_of(variant, figures[name]).values()]
            theirs = [*values_of(base, figures[over.row]).values()]
            if ours and theirs:
                digits = max(figures[each].decimals for each in (name, over.row))
                found.append(
                    Gain(
                        name, over.row, row.title, over.title, variant.readings,
                        round(figures[name].value - figures[over.row].value, digits),
                        round(sum(ours) / len(ours) - sum(theirs) / len(theirs), 2) + 0.0,  # and no -0.0
                        min(len(ours), len(theirs)), variant is row.shown,
                    )
                )  # fmt: skip
    return found


def _like_the_shown(row: RowReport) -> Iterator[RowVariant]:
    """Yield the variant that is shown, then those that differ from it in readings alone."""
    if row.shown is not None:
        yield row.shown
        label = row.shown.label
        yield from (each for each in row.attempts if each.label != label and _alike(each, row.shown))


def _base(over: RowReport, variant: RowVariant, figure: Figure) -> RowVariant | None:
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
