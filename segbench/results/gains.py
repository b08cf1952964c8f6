"""Which gains have the published sign: all that runs at another size or on other data can say of a method."""

from dataclasses import dataclass

from .verdicts import Judged, TableReport


@dataclass(frozen=True)
class Gain:
    """What a row has over the row that it improves on, as printed and as measured.

    Attributes:
        row, over: names of the two rows.
        title: of the row; ``over_title`` of the other.
        printed, measured: differences of the metric.
        seeds: the fewer of both rows' seeds.
    """

    row: str
    over: str
    title: str
    over_title: str
    printed: float
    measured: float
    seeds: int

    @property
    def same_sign(self) -> bool:
        return self.printed * self.measured > 0


def gains(report: TableReport, section: tuple[str, str, str]) -> list[Gain]:
    """Gains of the rows of a section that were run like the rows they improve on, in the order printed.

    Args:
        report: of a table.
        section: data set, split and metric.
    """
    dataset = section[0]
    plain = {
        entry.figure.row: entry
        for entry in report.sections()[section]
        if not entry.figure.is_relative and entry.figure.headline and entry.figure.kind in ("trained", "feature")
    }
    found = []
    for name, entry in plain.items():
        over = report.row(name, dataset).over
        base = plain.get(over or "")
        if over is None or base is None or not _alike(entry, base):
            continue
        assert entry.measured is not None and base.measured is not None
        found.append(
            Gain(
                name, over, entry.title, base.title,
                entry.figure.value - base.figure.value, entry.measured - base.measured,
                min(len(entry.values), len(base.values)),
            )
        )  # fmt: skip
    return found


def _alike(entry: Judged, base: Judged) -> bool:
    """Whether both were measured, under one budget, on the same data and with the same settings."""
    if entry.measured is None or base.measured is None or entry.shown is None or base.shown is None:
        return False
    one, other = entry.shown.resolved.request, base.shown.resolved.request
    return (one.budget, one.on, one.settings) == (other.budget, other.on, other.settings)
