"""The words of a verdict, and what a report of a table holds. Plain data: rendering needs nothing else."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from segbench.recipe.figures import Figure
from segbench.recipe.resolve import RANK, ReadingUse, Resolved

from .record import Record
from .statistics import Spread

Verdict = Literal[
    "reproduced", "higher", "lower", "undecided", "faster", "slower",
    "not comparable", "unavailable", "not run", "shown",
]  # fmt: skip
WORDS: dict[Verdict, str] = {
    "reproduced": "the difference lies inside the interval, and the interval inside the margin",
    "higher": "measured higher, beyond the interval",
    "lower": "measured lower, beyond the interval",
    "undecided": "not enough runs to tell",
    "faster": "less time than printed",
    "slower": "more time than printed",
    "not comparable": "what ran differs from what was published",
    "unavailable": "cannot be measured here",
    "not run": "nothing measured yet",
    "shown": "printed for one class, or without a rule to judge it: shown, not judged",
}


@dataclass(frozen=True)
class Tried:
    """One way in which a row can be run (budget, readings, settings), and what the store holds of it.

    Attributes:
        resolved: the row under this request; seed 0 stands for all seeds.
        records: one a seed, by seed.
        asked: whether somebody asked for it.
    """

    resolved: Resolved
    records: tuple[Record, ...]
    asked: bool = False

    @property
    def budget(self) -> str:
        return self.resolved.request.budget

    @property
    def readings(self) -> dict[str, str]:
        """Readings taken other than by default."""
        return {use.name: use.option for use in self.resolved.readings if not use.is_default}

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.resolved.request.settings)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(record.seed for record in self.records)

    @property
    def trainings(self) -> frozenset[str]:
        return frozenset(record.training for record in self.records if record.kind == "training")

    def __str__(self) -> str:
        on = self.resolved.request.on
        words = [f"budget {self.budget}", *([f"on {on}"] if on else [])]
        words += [f"{name}={option}" for name, option in self.readings.items()]
        words += [f"--set {path}={value}" for path, value in self.settings.items()]
        return ", ".join(words)


@dataclass(frozen=True)
class Judged:
    """One printed figure and what the records say of it.

    Attributes:
        title: the row's title.
        verdict: the word; ``provisional`` if it rests on a borrowed spread.
        measured: mean over seeds (of a gain: difference of means), unrounded.
        values: by seed, as ``seeds`` (of a gain: of the seeds that both rows have).
        deviation: standard deviation over this row's own seeds (of a gain: both rows' variances added).
        spread: what the interval rests on, pooled or borrowed.
        difference: measured less published.
        half_width: of the interval around the difference.
        seeds_needed: seeds that would decide an undecided verdict; None if none can, or nothing is known.
        p: two-sided; ``p_holm`` is adjusted over the headline figures of the table.
        correlation: of a gain, between the two rows over common seeds.
        reason: why this verdict; ``next`` is the command that helps.
        deviations: material ones; ``recorded`` are the others.
        confidence: weakest among the readings that the figure rests on.
        attempts: ways in which the row was asked for or run; ``trainings`` how many trainings they have.
        daggers: where the publication contradicts itself about this figure.
    """

    figure: Figure
    title: str
    verdict: Verdict
    provisional: bool = False
    measured: float | None = None
    values: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    deviation: float | None = None
    spread: Spread | None = None
    difference: float | None = None
    half_width: float | None = None
    margin: float | None = None
    seeds_needed: int | None = None
    p: float | None = None
    p_holm: float | None = None
    correlation: float | None = None
    reason: str = ""
    next: str = ""
    deviations: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    confidence: str | None = None
    shown: Tried | None = None
    attempts: int = 0
    trainings: int = 0
    daggers: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """The verdict as it is printed."""
        return f"{self.verdict} (provisional)" if self.provisional else self.verdict


@dataclass(frozen=True)
class RowReport:
    """One row on one data set.

    Attributes:
        plain: the row as published.
        shown: the attempt shown, ``attempts`` all of them, ``lost`` those that the recipe no longer understands.
        per_class: the shown one's IoU of every class, in percent.
        over: name of the row that this one improves on, if any.
    """

    row: str
    title: str
    dataset: str
    plain: Resolved
    shown: Tried | None = None
    attempts: tuple[Tried, ...] = ()
    lost: tuple[str, ...] = ()
    per_class: dict[str, float | None] = field(default_factory=dict)
    over: str | None = None

    @property
    def readings(self) -> tuple[ReadingUse, ...]:
        return (self.shown.resolved if self.shown else self.plain).readings


@dataclass(frozen=True)
class TableReport:
    """Everything that the store says of one published table.

    Attributes:
        repeat: options of the command line that a next command needs as well, each with its value.
    """

    table: str
    title: str
    source: str
    version: int
    entries: tuple[Judged, ...]
    rows: tuple[RowReport, ...]
    contradictions: tuple[str, ...] = ()
    repeat: tuple[tuple[str, str], ...] = ()

    def sections(self) -> dict[tuple[str, str, str], list[Judged]]:
        """Entries by data set, split and metric (gains with their metric), in the order printed."""
        found: dict[tuple[str, str, str], list[Judged]] = {}
        for entry in self.entries:
            figure = entry.figure
            found.setdefault((figure.dataset, figure.split, figure.base_metric), []).append(entry)
        return found

    def row(self, row: str, dataset: str) -> RowReport:
        return next(report for report in self.rows if (report.row, report.dataset) == (row, dataset))

    def readings(self) -> tuple[ReadingUse, ...]:
        """The readings that the rows shown rest on, each option once, the least certain first."""
        found = {(use.name, use.option): use for row in self.rows if row.shown for use in row.readings}
        return sorted(found.values(), key=lambda use: RANK[use.confidence])

    def counts(self) -> Counter[str]:
        """How often each verdict was given to a headline figure."""
        return Counter(entry.verdict for entry in self.entries if entry.figure.headline)
