"""The gap between a published and a measured mIoU, taken apart as far as records allow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segbench.metrics.profiles import PROFILES, score_profiles

from .statistics import expected_maximum, t_quantile
from .store import Store
from .variants import value_of
from .verdicts import FigureVerdict, RowReport


@dataclass(frozen=True)
class Component:
    """One component of a gap.

    Attributes:
        kind: ``conventions``, ``readings``, ``seeds``, ``selection`` or ``deviations``.
        low, high: by how many points it can move our value; None where nobody has measured that.
        says: the same in a sentence.
    """

    kind: str
    low: float | None
    high: float | None
    says: str


def take_apart(entry: FigureVerdict, row: RowReport, store: Store) -> list[Component]:
    """Take the gap of a measured figure apart.

    What was measured is stated as a range by which our value moves: other conventions of the same counts, other
    readings that were tried, the next seeds, and the best of five runs. What is left is named and not measured: the
    deviations of what ran. They overlap and need not add up.

    Args:
        entry: a mIoU with its verdict and the variant that is shown.
        row: the row that it is of.
        store: where the counts of the records are.
    """
    return [*_conventions(entry, store), *_readings(entry, row), *_seeds(entry), *_deviations(entry)]


def sentences(entry: FigureVerdict, components: Sequence[Component]) -> Iterator[str]:
    """Yield the gap and its components, a sentence each."""
    difference = entry.difference or 0.0
    yield f"Published {entry.figure.printed}, measured {entry.measured:.2f}: {difference:+.2f} points."
    for component in components:
        enough = ""
        if component.low is not None and component.high is not None and difference:
            toward = component.high if difference < 0 else component.low
            share = max(0.0, min(1.0, -toward / difference))
            enough = f" That is at most {100 * share:.0f} % of the gap."
        yield f"{component.says}{enough}"


def _conventions(entry: FigureVerdict, store: Store) -> Iterator[Component]:
    scores: dict[str, list[float]] = {}
    for record in entry.shown.records if entry.shown else ():
        tally = store.tally(record)
        if tally is None:
            continue
        # Not those of one paper, nor what is no mean over classes.
        names = [name for name in PROFILES if name != "micro" and not name.startswith("cfn")]
        for name, found in score_profiles(tally, names).items():
            scores.setdefault(name, []).append(found.miou)
    means = {name: float(np.mean(values)) for name, values in scores.items() if np.isfinite(values).all()}
    if "standard" not in means:
        yield Component("conventions", None, None, "Conventions: the records kept no counts of their images.")
        return
    moved = {name: value - means["standard"] for name, value in means.items()}
    lowest, highest = (choose(moved, key=moved.__getitem__) for choose in (min, max))
    says = (
        f"Conventions of the same counts move the mIoU by {moved[lowest]:+.2f} ({lowest}) to {moved[highest]:+.2f}"
        f" ({highest})."
    )
    yield Component("conventions", moved[lowest], moved[highest], says)


def _readings(entry: FigureVerdict, row: RowReport) -> Iterator[Component]:
    """Compare variants that differ from the one shown in readings alone."""
    if row.shown is None:
        return
    ours = row.shown.resolved.request
    found = {}
    for variant in row.attempts:
        asked = variant.resolved.request
        if variant.label == row.shown.label or (asked.budget, asked.on, asked.settings) != (
            ours.budget,
            ours.on,
            ours.settings,
        ):
            continue
        values = [value for record in variant.records if (value := value_of(record, entry.figure)) is not None]
        if values:
            names = ", ".join(f"{name}={option}" for name, option in variant.readings.items()) or "default readings"
            found[names] = float(np.mean(values)) - (entry.measured or 0.0)
    if not found:
        yield Component("readings", None, None, "Readings: no other one was tried.")
        return
    told = "; ".join(f"{names} {moved:+.2f}" for names, moved in found.items())
    yield Component(
        "readings", min(0.0, *found.values()), max(0.0, *found.values()), f"Readings that were tried: {told}."
    )


def _seeds(entry: FigureVerdict) -> Iterator[Component]:
    count, s = len(entry.seeds), entry.deviation
    if s is None or count < 2:
        yield Component("seeds", None, None, "Seeds: one run, so nothing tells how far the next would be.")
        return
    half = t_quantile(count - 1) * s * (1 + 1 / count) ** 0.5
    yield Component(
        "seeds", -half, half, f"The next seed lies within {half:.2f} of our mean (95 %, {count} seeds, s {s:.2f})."
    )
    lift = expected_maximum(5) * s
    yield Component("selection", 0.0, lift, f"The best of five runs would lie {lift:.2f} higher.")


def _deviations(entry: FigureVerdict) -> Iterator[Component]:
    if entry.deviations:
        names = ", ".join(entry.deviations[:6])
        more = f" and {len(entry.deviations) - 6} more" if len(entry.deviations) > 6 else ""
        yield Component("deviations", None, None, f"The rest is not taken apart: what ran differs by {names}{more}.")
    else:
        yield Component("deviations", None, None, "What ran differs from the publication in nothing that is known.")
