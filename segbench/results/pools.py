"""Seed spreads, pooled over all trainings of a store that share network, data, schedule and evaluation."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scipy import special

from segbench.core.spec import digest
from segbench.recipe.figures import Figure
from segbench.recipe.schema import MeasuredSpread

from .record import Record
from .statistics import LEVEL, MIN_SEEDS, Spread, brown_forsythe, intraclass, pool
from .variants import value_of, values_of
from .verdicts import RowVariant

_NO_PART = ("method", "name", "starts_from", "primary")  # of a stage; what is left decides how far seeds scatter
_LARGER = 0.10  # of an F test: pooling a row that scatters twice as much is worse than not pooling one in ten
_TWICE = 2.0  # a row whose own spread is so many times the pooled one is not one of the pool


class Pools:
    """Spreads of trainings by what they share across all tables; methods are no part of it.

    Args:
        records: of a store, in groups that differ by seed alone.
        measured: spreads for trainings without one, the best first.
    """

    def __init__(self, records: Iterable[Sequence[Record]], measured: Sequence[MeasuredSpread] = ()) -> None:
        self._measured = measured
        self._groups: dict[str, list[Sequence[Record]]] = defaultdict(list)
        self._known: dict[tuple[str, str, str | None], tuple[Spread | None, list[list[float]]]] = {}
        for group in records:
            self._groups[pool_key(group[0])].append(group)

    def spread(self, variant: RowVariant, figure: Figure) -> Spread | None:
        """Return the spread behind a variant's interval: pooled, else one measured elsewhere, else None."""
        own = list(values_of(variant, figure).values())
        if variant.records:
            pooled, groups = self._pooled(pool_key(variant.records[0]), figure)
            if pooled is not None and (len(own) >= MIN_SEEDS or pooled.df > len(own) - 1):
                return _unless_unlike(pooled, own, groups)
        for known in self._measured:
            if _fits(known, variant, figure):
                return Spread(known.s, known.df, source=known.source, label=known.source)
        return None

    def _pooled(self, key: str, figure: Figure) -> tuple[Spread | None, list[list[float]]]:
        """Return the pooled spread of a figure's metric or class, and the values of each training; computed once."""
        what = key, figure.measured_as, figure.class_name
        if what not in self._known:
            by_seed = []
            for group in self._groups[key]:
                values = {record.seed: value_of(record, figure) for record in group}
                by_seed.append({seed: value for seed, value in values.items() if value is not None})
            groups = [list(group.values()) for group in by_seed]
            pooled = pool(groups, label=key)
            if pooled is not None:
                # Rows whose seeds move together tell less of the spread than as many rows that do not.
                r = intraclass([group for group in by_seed if len(group) > 1])
                pooled = replace(pooled, df=pooled.df / (1 + (pooled.groups - 1) * r**2))
            self._known[what] = pooled, groups
        return self._known[what]


def _fits(known: MeasuredSpread, variant: RowVariant, figure: Figure) -> bool:
    """Return True if a spread was measured on a variant's data, metric and network; never for generated scenes."""
    training, evaluation = variant.resolved.ran.training, variant.resolved.ran.evaluation
    if training is None or evaluation is None or evaluation.data.source == "generated":
        return False
    if (known.dataset, known.metric) != (evaluation.data.name, figure.base_metric):
        return False
    model = training.stages[-1].model
    return known.backbone in (None, model.backbone.name) and known.decoder in (None, model.decoder.name)


def pool_key(record: Record) -> str:
    """Return what trainings must share to be pooled: data, network, weights, schedule of all stages; evaluation."""
    stages = record.training_spec.get("stages")
    trained: Any = [_bare(stage) for stage in stages] if stages else record.family
    return digest([trained, record.evaluation_spec])


def _bare(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stage.items() if key not in _NO_PART}


def _unless_unlike(pooled: Spread, own: Sequence[float], groups: Sequence[Sequence[float]]) -> Spread:
    """Return the pooled spread, or a row's own if that is larger and the rows scatter unlike each other.

    Unlike by the test of Brown and Forsythe, which sees little in three seeds a row; so also if the row's own spread is
    twice the pooled one, or larger than that of the other rows by an F test at 10 %.
    """
    alone = pool([own]) if len(own) >= MIN_SEEDS else None
    others = [list(group) for group in groups]
    if pooled.groups < 2 or alone is None or list(own) not in others:
        return pooled
    others.remove(list(own))
    rest, p = pool(others), brown_forsythe(groups)
    assert rest is not None
    unlike = (p is not None and p < LEVEL) or alone.s > _TWICE * pooled.s or _is_larger(alone, rest)
    if not unlike:
        return pooled
    note = f"rows scatter unlike each other (own s {alone.s:.2f}, pooled {pooled.s:.2f}): the larger counts"
    larger = replace(alone, label=f"{pooled.label} alone") if alone.s > pooled.s else pooled
    return replace(larger, note=note)


def _is_larger(one: Spread, other: Spread) -> bool:
    """Return True if a spread is larger than another one by a one-sided F test."""
    if other.s == 0:
        return one.s > 0
    return float(special.fdtrc(one.df, other.df, (one.s / other.s) ** 2)) < _LARGER
