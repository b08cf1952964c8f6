"""Verdicts on the claims of publications: by their own printed tables, and by our own rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from segbench.recipe.claims import Claim
from segbench.recipe.figures import Figure
from segbench.recipe.tables import Catalog

from .gains import alike_variant, measured_gain
from .mechanisms import CHECKS
from .pools import Pools
from .variants import values_of
from .verdicts import ClaimVerdict, ClaimWord, RowReport

Rows = Callable[[str, str], RowReport]  # a row on one of its data sets
_Answer = Literal["holds", "fails", "unclear", "not run"]


@dataclass(frozen=True)
class _Bounds:
    """Bounds of a difference of two rows, or of their ratio in percent; None where there is none."""

    low: float | None
    high: float | None

    def answer(self, low: float, high: float) -> _Answer:
        """Hold an interval against the bounds."""
        if (self.low is None or low > self.low) and (self.high is None or high < self.high):
            return "holds"
        outside = (self.low is not None and high <= self.low) or (self.high is not None and low >= self.high)
        return "fails" if outside else "unclear"


def judge_mechanism(claim: Claim) -> ClaimVerdict:
    """Judge a claim that a calculation decides."""
    holds, says = CHECKS[str(claim.check)]()
    return ClaimVerdict(claim, "holds" if holds else "fails", says)


def judge_claim(claim: Claim, catalog: Catalog, rows: Rows, pools: Pools) -> ClaimVerdict:
    """Judge a claim about the rows of a table.

    A claim that the publication's own table refutes beyond rounding is ``contradicted by its own table``, whatever we
    measured. Otherwise it holds here if it does of every pair of rows, and fails if it fails of one.

    Args:
        claim: what is claimed.
        catalog: its table and those that it names besides.
        rows: finds a row by its name, of another table as ``TABLE/ROW``.
        pools: spreads over seeds.
    """
    if claim.kind == "invariance":
        return _invariance(claim, catalog, rows)
    printed = list(_printed(claim, catalog))
    refuted = [text for holds, text in printed if not holds]
    told = list(_measured(claim, rows, pools))
    words = [answer for answer, _ in told]
    reasons = [text for answer, text in told if answer != "not run"]
    ours = _together(words)
    if refuted:
        return ClaimVerdict(claim, "contradicted by its own table", "; ".join([*refuted, *reasons]), bool(printed))
    said = ["its own table agrees" if printed else "its own table prints nothing of it"]
    return ClaimVerdict(claim, ours, "; ".join([*said, *reasons]), bool(printed))


def _together(words: Sequence[_Answer]) -> ClaimWord:
    if not words or all(word == "not run" for word in words):
        return "not run"
    if "fails" in words:
        return "fails"
    return "holds" if all(word == "holds" for word in words) else "unclear"


def _bounds(claim: Claim) -> _Bounds:
    return _Bounds(claim.low, claim.high) if claim.kind == "range" else _Bounds(0.0, None)


def _printed(claim: Claim, catalog: Catalog) -> Iterator[tuple[bool, str]]:
    """Yield for every pair that is printed whether the claim can be true of it, and what is printed."""
    printed = (figure for name in claim.tables for figure in catalog.table(name).figures())
    figures = {
        (f"{f.table}/{f.row}", f.dataset, f.split, f.metric): f for f in printed if f.headline and not f.is_relative
    }
    for dataset, split, metric in (place.split(".") for place in claim.at):
        for better, worse in claim.all_pairs:
            ours, theirs = (figures.get((claim.full(row), dataset, split, metric)) for row in (better, worse))
            if ours is None or theirs is None:
                continue
            bounds = _bounds(claim)
            sign = -1.0 if claim.lower else 1.0
            scale = 100 / theirs.value if claim.percent else 1.0
            difference = sign * (ours.value - theirs.value) * scale
            slack = (ours.half_digit + theirs.half_digit) * scale + 1e-9
            # An order needs a difference above 0 as printed: a tie is none.
            strict = claim.kind in ("order", "lead")
            low = difference if strict else difference + slack
            fits = (bounds.low is None or (low > bounds.low if strict else low >= bounds.low)) and (
                bounds.high is None or difference - slack <= bounds.high
            )
            unit = " %" if claim.percent else ""
            text = f"printed {better} {ours.printed}, {worse} {theirs.printed}"
            yield fits, f"{text} ({dataset} {metric}: {difference:+.2f}{unit})"


def _measured(claim: Claim, rows: Rows, pools: Pools) -> Iterator[tuple[_Answer, str]]:
    """Yield for every pair what our own rows say of it, and by which numbers."""
    for dataset, split, metric in (place.split(".") for place in claim.at):
        for better, worse in claim.all_pairs:
            row, over = rows(better, dataset), rows(worse, dataset)
            figure = Figure(str(claim.table), better, dataset, split, metric, "0")
            base = alike_variant(over, row.shown, figure) if row.shown is not None else None
            if row.shown is None or base is None or not values_of(row.shown, figure) or figure.kind == "time":
                yield "not run", ""
                continue
            estimate, _, half, _ = measured_gain(row.shown, base, (figure, figure), pools)
            found = estimate.gain
            if figure.kind == "exact":
                half = 0.0
            elif half is None:
                yield "unclear", f"{better} over {worse}: {found:+.2f} here, no spread ({row.shown})"
                continue
            theirs = values_of(base, figure)
            sign = -1.0 if claim.lower else 1.0
            scale = 100 / (sum(theirs.values()) / len(theirs)) if claim.percent else 1.0
            low, high = sorted((sign * scale * (found - half), sign * scale * (found + half)))
            answer = _bounds(claim).answer(low, high)
            interval = f"{low:+.2f} to {high:+.2f}" if half else f"{low:+.2f}"
            yield answer, f"{better} over {worse}: {interval} here ({row.shown})"


def _invariance(claim: Claim, catalog: Catalog, rows: Rows) -> ClaimVerdict:
    """Hold the networks that are deployed against each other: one description builds one network."""
    different = []
    for better, worse in claim.all_pairs:
        table, _, row = claim.full(better).rpartition("/")
        dataset = catalog.table(table).datasets(row)[0]
        models = []
        for name in (better, worse):
            training = rows(name, dataset).plain.published.training
            models.append(training.stages[-1].model if training is not None else None)
        if models[0] != models[1]:
            different.append(f"{better} and {worse} deploy other networks")
    if different:
        return ClaimVerdict(claim, "fails", "; ".join(different))
    says = "both deploy the same network: parameters, multiply-adds and logits are one and the same"
    return ClaimVerdict(claim, "holds", f"{says}; heads of the loss are not part of it")
