"""Seed spreads of a table, pooled over what shares data and architecture."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segbench.core.spec import TrainingSpec, digest
from segbench.recipe.figures import Figure

from .attempts import Finder, value_of
from .statistics import MIN_SEEDS, Spread, pool
from .verdicts import Tried


@dataclass(frozen=True)
class BorrowedSpread:
    """A spread measured elsewhere, for verdicts that are then provisional.

    Attributes:
        s: standard deviation over seeds, in the metric's unit.
        df: degrees of freedom behind it.
        source: where it was measured.
        backbone: the network it holds for; None for any. Likewise ``decoder``.
    """

    dataset: str
    metric: str
    s: float
    df: int
    source: str
    backbone: str | None = None
    decoder: str | None = None

    def fits(self, tried: Tried, figure: Figure) -> bool:
        training = tried.resolved.ran.training
        if training is None or (self.dataset, self.metric) != (figure.dataset, figure.base_metric):
            return False
        model = training.stages[-1].model
        return self.backbone in (None, model.backbone.name) and self.decoder in (None, model.decoder.name)


class Pools:
    """Spreads by data, network, evaluation, budget and settings; methods and readings are pooled.

    A training that several rows share counts once.
    """

    def __init__(
        self, finder: Finder, rows: Iterable[tuple[str, str]], borrowed: Sequence[BorrowedSpread] = ()
    ) -> None:
        self._borrowed = borrowed
        self._members: dict[str, dict[str, Tried]] = defaultdict(dict)
        for row, dataset in rows:
            for tried in finder.tried(row, dataset):
                if tried.records:
                    first = tried.records[0]
                    self._members[_key(tried)][digest([first.family, first.evaluation_spec])] = tried

    def spread(self, tried: Tried, figure: Figure) -> Spread | None:
        """The spread that a row's interval rests on: pooled, else borrowed, else None."""
        key = _key(tried)
        groups = [list(values_of(member, figure).values()) for member in self._members[key].values()]
        pooled = pool(groups, label=key)
        seeds = len(values_of(tried, figure))
        if pooled is not None and (seeds >= MIN_SEEDS or pooled.df > seeds - 1):
            return pooled
        for known in self._borrowed:
            if known.fits(tried, figure):
                return Spread(known.s, known.df, source=known.source, label=known.source)
        return None


def values_of(tried: Tried, figure: Figure) -> dict[int, float]:
    """A figure's value by seed."""
    found = {record.seed: value_of(record, figure) for record in tried.records}
    return {seed: value for seed, value in found.items() if value is not None}


def _key(tried: Tried) -> str:
    ran, request = tried.resolved.ran, tried.resolved.request
    return digest(
        {
            "network": _network(ran.training) if ran.training else None,
            "evaluation": ran.evaluation.canonical() if ran.evaluation else None,
            "budget": request.budget,
            "settings": dict(request.settings),
        }
    )


def _network(training: TrainingSpec) -> object:
    model = training.stages[-1].model
    data = [stream.data.canonical() for stage in training.stages for stream in stage.streams.values()]
    return {"backbone": model.backbone.canonical(), "decoder": model.decoder.canonical(), "data": data}
