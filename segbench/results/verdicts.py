"""Verdicts, and everything that the report of a table holds. Plain data: rendering needs nothing else."""

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from segbench.recipe.claims import Claim
from segbench.recipe.deviations import Deviation, between
from segbench.recipe.figures import Figure
from segbench.recipe.resolve import RANK, ReadingUse, Resolved

from .decisions import GainVerdict
from .record import Record
from .statistics import Spread

Verdict = Literal[
    "reproduced", "higher", "lower", "consistent", "differs", "undecided", "faster", "slower",
    "not comparable", "unavailable", "not run", "shown",
]  # fmt: skip
VERDICTS: dict[Verdict, str] = {
    "reproduced": "the 90 % interval of the difference lies inside the margin",
    "higher": "the 90 % interval lies wholly above the margin",
    "lower": "the 90 % interval lies wholly below the margin",
    "consistent": "no difference is seen, but one beyond the margin is not excluded",
    "differs": "differs, but a gap below the margin is not excluded",
    "undecided": "no spread over seeds is known",
    "faster": "less time than printed",
    "slower": "more time than printed",
    "not comparable": "what ran differs from what was published",
    "unavailable": "cannot be measured here",
    "not run": "nothing measured yet",
    "shown": "printed for one class, or without a rule to judge it: shown, not judged",
}
SectionKey = tuple[str, str, str]  # data set, split and metric


@dataclass(frozen=True)
class RowVariant:
    """A row under one request (budget, readings, settings), and its records in the store.

    Attributes:
        resolved: the row under this request; seed 0 stands for all seeds.
        records: one per seed, by seed.
        requested: whether the row was ever requested so.
        planned: seeds that were asked for, with or without a record yet.
        looks: number of times that seeds were planned, the later ones after results were seen.
    """

    resolved: Resolved
    records: tuple[Record, ...]
    requested: bool = False
    planned: frozenset[int] = frozenset()
    looks: int = 1

    @property
    def budget(self) -> str:
        return self.resolved.request.budget

    @property
    def on(self) -> str | None:
        """Data set that the row runs on instead of its own, if any."""
        return self.resolved.request.on

    @property
    def readings(self) -> dict[str, str]:
        """Readings other than the default ones."""
        return {use.name: use.option for use in self.resolved.readings if not use.is_default}

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the command line."""
        return dict(self.resolved.request.settings)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(record.seed for record in self.records)

    @property
    def trainings(self) -> frozenset[str]:
        """Ids of the trainings behind the records."""
        return frozenset(record.training for record in self.records if record.kind == "training")

    @cached_property
    def deviations(self) -> tuple[Deviation, ...]:
        """Deviations of the protocol that runs from the published one, material or not."""
        return tuple(between(self.resolved.published, self.resolved.ran))

    @cached_property
    def label(self) -> str:
        """Request in words: ``budget small, on camvid, contrast-form=released``."""
        words = [f"budget {self.budget}", *([f"on {self.on}"] if self.on else [])]
        words += [f"{name}={option}" for name, option in self.readings.items()]
        words += [f"--set {path}={value}" for path, value in self.settings.items()]
        return ", ".join(words)

    def __str__(self) -> str:
        return self.label


RescoredWord = Literal["agrees", "agrees otherwise", "does not agree"]
RESCORED: dict[RescoredWord, str] = {
    "agrees": "the weights give the printed digits",
    "agrees otherwise": "the weights give the printed digits under another convention",
    "does not agree": "no evaluation of these weights here gives the printed digits",
}


@dataclass(frozen=True)
class Rescored:
    """Score of released weights beside the printed figure that they stand for.

    Attributes:
        title: the row's title.
        weights: registered name of the checkpoint, else that of its file.
        by: ``authors``; ``same print`` for another project that publishes the same figure; ``a file`` of the user.
        record: id of the evaluation.
        value: its score under the row's published protocol; ``difference`` is it less the printed value.
        word: the answer; ``reason`` is what else is to be known.
    """

    figure: Figure
    title: str
    weights: str
    by: str
    record: str
    value: float
    difference: float
    word: RescoredWord
    reason: str = ""


@dataclass(frozen=True)
class FigureVerdict:
    """One printed figure, its verdict, and everything that the verdict rests on.

    Attributes:
        title: the row's title.
        verdict: the verdict; ``provisional`` if it rests on a borrowed spread.
        measured: mean over seeds (of a gain: difference of means), unrounded.
        values: by seed, as ``seeds`` (of a gain: of the seeds that both rows have).
        deviation: standard deviation over this row's own seeds (of a gain: both rows' variances added).
        spread: spread behind the interval, pooled or borrowed.
        difference: measured less published.
        error: standard error of the difference; ``df`` its degrees of freedom.
        half_width: half-width of the 95 % interval around the difference; ``narrow`` is that of the 90 % interval,
            which is held against the margin.
        margin: largest difference that still counts as reproduced.
        seeds_needed: seeds that would decide in 80 % of cases; None if none can, or nothing is known.
        p: two-sided p-value; ``p_holm`` is adjusted over the values of the table, or over its gains. No verdict rests
            on either.
        planned: seeds that were planned, and ``looks`` how often seeds were added to results.
        correlation: of a gain, between the two rows over common seeds.
        reason: reason for the verdict; ``next`` is the command that helps.
        deviations: material deviations; ``recorded`` are the others.
        confidence: weakest confidence among the readings that the figure rests on.
        shown: the variant that was judged.
        attempts: number of variants that were requested or run; ``trainings`` is the number of their trainings.
        contradictions: statements of the publication that contradict this figure.
        rescored: scores of released weights that stand for the figure.
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
    error: float | None = None
    df: float | None = None
    half_width: float | None = None
    narrow: float | None = None
    margin: float | None = None
    seeds_needed: int | None = None
    p: float | None = None
    p_holm: float | None = None
    planned: int = 0
    looks: int = 1
    correlation: float | None = None
    reason: str = ""
    next: str = ""
    deviations: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    confidence: str | None = None
    shown: RowVariant | None = None
    attempts: int = 0
    trainings: int = 0
    contradictions: tuple[str, ...] = ()
    rescored: tuple[Rescored, ...] = ()

    @property
    def beyond(self) -> float:
        """Difference less the tolerance of the figure, never past 0: what the intervals are drawn around."""
        difference = self.difference or 0.0
        return math.copysign(max(0.0, abs(difference) - self.figure.tolerance), difference)

    @property
    def word(self) -> str:
        """Verdict as it is printed."""
        return f"{self.verdict} (provisional)" if self.provisional else self.verdict


@dataclass(frozen=True)
class RowReport:
    """One row on one data set.

    Attributes:
        plain: the row as published.
        shown: the variant that the report shows, if any was run.
        attempts: every variant that was requested or run.
        lost: attempts that the recipe no longer understands, in words.
        per_class: IoU of every class of the variant shown, in percent; mean over seeds.
        over: name of the row that this one improves on, if any.
    """

    row: str
    title: str
    dataset: str
    plain: Resolved
    shown: RowVariant | None = None
    attempts: tuple[RowVariant, ...] = ()
    lost: tuple[str, ...] = ()
    per_class: dict[str, float | None] = field(default_factory=dict)
    over: str | None = None

    @property
    def readings(self) -> tuple[ReadingUse, ...]:
        """Readings of the variant shown; without one, those of the row as published."""
        return (self.shown.resolved if self.shown else self.plain).readings

    @property
    def scored(self) -> SectionKey | None:
        """Data set and split of the variant shown, and the mIoU; None if it has none."""
        if self.shown is None or not any(record.figures.get("miou") is not None for record in self.shown.records):
            return None
        return self.dataset, self.shown.records[0].split, "miou"


ClaimWord = Literal["holds", "fails", "unclear", "contradicted by its own table", "not run"]


Word = Verdict | GainVerdict | RescoredWord | ClaimWord  # every answer of a report


@dataclass(frozen=True)
class ClaimVerdict:
    """Verdict on a claim.

    Attributes:
        claim: what is claimed.
        word: the verdict.
        reason: numbers that it rests on.
        printed: whether the publication's own table prints what is needed to check it.
    """

    claim: Claim
    word: ClaimWord
    reason: str = ""
    printed: bool = False


@dataclass(frozen=True)
class Gain:
    """Gain of a row over the row that it improves on, by the printed figures, if there are any, and as measured here.

    Attributes:
        section: data set, split and metric.
        row, over: names of the two rows.
        title: title of the row; ``over_title`` is that of the other.
        readings: readings of the row other than the default ones.
        printed: difference of the printed figures, in their digits; None if nothing is printed of the rows.
        measured: difference of the means over seeds, as it is shown (two decimals).
        seeds: the fewer of both rows' seeds.
        counts: whether it is the gain of the variant shown. A row that was run under other readings as well still
            has one published gain, so that trying readings until it holds wins nothing.
        answer: whether the gain exists here; ``provisional`` if that rests on one seed or on a borrowed spread.
        error: standard error of the measured gain; ``df`` its degrees of freedom. None without a spread.
        looks: times that seeds were planned, the later ones after results were seen; they widen the interval.
        source: where its spread was measured, if not here.
        half_width: half-width of its 95 % interval; None without a spread.
        correlation: between the two rows over common seeds; used in the interval if ``paired``.
        seeds_needed: seeds a row that would show the printed gain in 80 % of cases; None if unknown or too many.
    """

    section: SectionKey
    row: str
    over: str
    title: str
    over_title: str
    readings: dict[str, str]
    printed: float | None
    measured: float
    seeds: int
    counts: bool
    answer: GainVerdict = "gain unclear"
    provisional: bool = False
    error: float | None = None
    df: float = 0.0
    looks: int = 1
    source: str = ""
    half_width: float | None = None
    correlation: float | None = None
    paired: bool = False
    seeds_needed: int | None = None

    @property
    def name(self) -> str:
        """Title of the row, with the readings that are not the default."""
        readings = ", ".join(f"{name}={option}" for name, option in self.readings.items())
        return f"{self.title} ({readings})" if readings else self.title

    @property
    def word(self) -> str:
        """Answer as it is printed."""
        return f"{self.answer} (provisional)" if self.provisional else self.answer


@dataclass(frozen=True)
class TableReport:
    """Verdicts and runs of one published table.

    Attributes:
        entries: a verdict per printed figure, in the order printed.
        rows: every row on each of its data sets.
        gains: gains of rows over the rows they improve on, by our own rows alone.
        released: what weights can be had, with the command.
        claims: sentences of the publication about this table, with verdicts; ``sentences`` are without.
        contradictions: statements of the publication that contradict each other or a figure.
        repeat: options of the command line that a next command needs as well, each with its value.
    """

    table: str
    title: str
    source: str
    version: int
    entries: tuple[FigureVerdict, ...]
    rows: tuple[RowReport, ...]
    gains: tuple[Gain, ...] = ()
    released: str = ""
    claims: tuple[ClaimVerdict, ...] = ()
    sentences: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    repeat: tuple[tuple[str, str], ...] = ()

    def sections(self) -> dict[SectionKey, list[FigureVerdict]]:
        """Group the entries by data set, split and metric (gains with their metric), in the order printed."""
        found: dict[SectionKey, list[FigureVerdict]] = {}
        for entry in self.entries:
            figure = entry.figure
            found.setdefault((figure.dataset, figure.split, figure.base_metric), []).append(entry)
        return found

    def unprinted(self) -> dict[SectionKey, list[RowReport]]:
        """Group the rows that were run although nothing is printed for them, by data set, split and metric."""
        judged = {(entry.figure.row, entry.figure.dataset) for entry in self.entries}
        found: dict[SectionKey, list[RowReport]] = {}
        for row in self.rows:
            if (section := row.scored) is not None and (row.row, row.dataset) not in judged:
                found.setdefault(section, []).append(row)
        return found

    def row(self, row: str, dataset: str) -> RowReport:
        """Return a row on one of its data sets."""
        return next(report for report in self.rows if (report.row, report.dataset) == (row, dataset))

    def readings(self) -> tuple[ReadingUse, ...]:
        """Return the readings behind the rows that were run, each option once, the least certain first."""
        found = {(use.name, use.option): use for row in self.rows if row.shown for use in row.readings}
        return tuple(sorted(found.values(), key=lambda use: RANK[use.confidence]))

    def counts(self) -> Counter[str]:
        """Count the verdicts of the headline figures."""
        return Counter(entry.verdict for entry in self.entries if entry.figure.headline)
