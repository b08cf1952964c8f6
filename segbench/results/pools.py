"""Seed spreads of a table, pooled over what shares data and architecture."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from segbench.core.spec import TrainingSpec, digest
from segbench.recipe.figures import Figure

from .statistics import MIN_SEEDS, Spread, pool
from .variants import TableVariants, values_of
from .verdicts import RowVariant


@dataclass(frozen=True)
class BorrowedSpread:
    """A spread measured elsewhere, for verdicts that are then provisional.

    Attributes:
        dataset, metric: data set and metric that it was measured on.
        s: standard deviation over seeds, in the metric's unit.
        df: degrees of freedom behind it.
        source: where it was measured.
        backbone, decoder: the network that it holds for; None for any.
    """

    dataset: str
    metric: str
    s: float
    df: int
    source: str
    backbone: str | None = None
    decoder: str | None = None

    def fits(self, variant: RowVariant, figure: Figure) -> bool:
        """Return True if the spread was measured on a variant's data, metric and network."""
        training = variant.resolved.ran.training
        if training is None or (self.dataset, self.metric) != (figure.dataset, figure.base_metric):
            return False
        model = training.stages[-1].model
        return self.backbone in (None, model.backbone.name) and self.decoder in (None, model.decoder.name)


class Pools:
    """Spreads per data, network, evaluation, budget and settings; methods and readings are pooled.

    A training that several rows share counts once.
    """

    def __init__(self, variants: TableVariants, borrowed: Sequence[BorrowedSpread] = ()) -> None:
        self._borrowed = borrowed
        self._members: dict[str, dict[str, RowVariant]] = defaultdict(dict)
        for row in variants.rows.values():
            for variant in row.training:
                if variant.records:
                    first = variant.records[0]
                    self._members[_key(variant)][digest([first.family, first.evaluation_spec])] = variant

    def spread(self, variant: RowVariant, figure: Figure) -> Spread | None:
        """Return the spread behind a variant's interval: pooled, else borrowed, else None."""
        key = _key(variant)
        groups = [list(values_of(member, figure).values()) for member in self._members[key].values()]
        pooled = pool(groups, label=key)
        seeds = len(values_of(variant, figure))
        if pooled is not None and (seeds >= MIN_SEEDS or pooled.df > seeds - 1):
            return pooled
        for known in self._borrowed:
            if known.fits(variant, figure):
                return Spread(known.s, known.df, source=known.source, label=known.source)
        return None


def _key(variant: RowVariant) -> str:
    ran, request = variant.resolved.ran, variant.resolved.request
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
