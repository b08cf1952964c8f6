"""Metric profiles of records: from the counts that lie beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segbench.metrics.profiles import PROFILES, ProfileScores, explain, score_profiles

from .record import Record
from .store import Store


@dataclass(frozen=True)
class Profiled:
    """A record under several profiles.

    Attributes:
        record: the record.
        found: scores by profile; empty if the record kept no counts of its images.
        why: sentence on how far they are apart, or why there are none.
    """

    record: Record
    found: dict[str, ProfileScores]
    why: str

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield plain data, a line a profile."""
        standard = PROFILES["standard"]
        for name, scores in self.found.items():
            yield {
                "record": self.record.id,
                "dataset": self.record.dataset,
                "split": self.record.split,
                "seed": self.record.seed,
                "profile": name,
                "miou": _plain(scores.miou),
                "dice": _plain(scores.dice),
                "accuracy": _plain(scores.accuracy),
                "says": PROFILES[name].says,
                "is_standard": name == standard.name,
            }


def profile(record: Record, store: Store, names: Sequence[str]) -> Profiled:
    """Score a record under profiles, from its counts."""
    tally = store.tally(record)
    if tally is None:
        return Profiled(record, {}, "The record kept no counts of its images, so nothing but its own figures is known.")
    found = score_profiles(tally, names)
    return Profiled(record, found, explain(tally, found))


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
