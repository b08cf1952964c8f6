"""The cost of a network under every convention, and the convention behind a printed number."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from segbench.checkpoints.loaded_model import open_model
from segbench.core.errors import InvalidFault
from segbench.core.spec import Size
from segbench.data.facts import facts
from segbench.methods.build import build_method
from segbench.metrics.conventions import count_conventions, matching
from segbench.models.segmentor import build_segmentor
from segbench.recipe.catalog import Catalog
from segbench.recipe.resolve import resolve

from .cost import TrainingPass

USUAL_SIZES: tuple[Size, ...] = ((512, 512), (512, 1024), (1024, 2048))


@dataclass(frozen=True)
class NetworkCost:
    """Cost of one network.

    Attributes:
        what: ``deployed``, or ``trained``: with everything that the method trains besides.
        parameters: their number.
        counts: operations by convention, by input size.
    """

    what: str
    parameters: int
    counts: dict[Size, dict[str, int]]


@dataclass(frozen=True)
class CostTable:
    """Costs of a row's or a checkpoint's network.

    Attributes:
        name: for people.
        networks: of a row what is deployed and, if that is more, what is trained.
        printed: what the publication prints: (metric, number).
    """

    name: str
    networks: tuple[NetworkCost, ...]
    printed: tuple[tuple[str, str], ...] = ()

    def explain(self, printed: str, *, parameters: bool = False) -> list[str]:
        """Return what gives a printed number of G or M, in words; empty if nothing here does."""
        found = []
        for network in self.networks:
            if parameters:
                if matching(printed, {"": network.parameters}, unit=1e6):
                    found.append(f"parameters, {network.what}")
                continue
            for size, counts in network.counts.items():
                found += [f"{name}, {network.what}, at {size[0]}x{size[1]}" for name in matching(printed, counts)]
        return found


def cost_of_row(
    catalog: Catalog, table: str, row: str, *, dataset: str | None = None, sizes: Sequence[Size] = ()
) -> CostTable:
    """Count the network of a row as published, without any weights.

    Args:
        catalog: the recipes.
        table, row: the row.
        dataset: of the row; the first by default.
        sizes: input sizes; the usual ones, and that of the row's own count, by default.

    Raises:
        UsageFault: no such table, row or data set.
        InvalidFault: the row trains no network.
    """
    dataset = dataset or catalog.table(table).datasets(row)[0]
    published = resolve(catalog, table, row, dataset).published
    if published.training is None:
        raise InvalidFault(f"{table}/{row} trains no network.", next=f"segbench list {table}")
    stage, cost = published.training.stages[-1], published.cost
    classes = cost.num_classes if cost is not None else len(facts(dataset).class_slugs())
    wanted = tuple(sizes) or tuple(dict.fromkeys((*([cost.input] if cost is not None else []), *USUAL_SIZES)))
    with torch.device("meta"):
        network = build_segmentor(stage.model, num_classes=classes)
        method = build_method(stage, num_classes=classes)
    found = [_cost("deployed", network, wanted)]
    trained = _cost("trained", TrainingPass(method), wanted)
    if trained.parameters != found[0].parameters:
        found.append(trained)
    printed = tuple(
        (figure.metric, figure.printed)
        for figure in catalog.table(table).figures(row)
        if figure.metric in ("params_m", "flops_g")
    )
    return CostTable(f"{table}/{row}", tuple(found), printed)


def cost_of_file(path: Path, *, sizes: Sequence[Size] = ()) -> CostTable:
    """Count the network of a checkpoint; faults are those of `open_model`."""
    model = open_model(path)
    return CostTable(path.name, (_cost("deployed", model.segmentor, tuple(sizes) or USUAL_SIZES),))


def _cost(what: str, network: nn.Module, sizes: Sequence[Size]) -> NetworkCost:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkCost(what, parameters, {size: count_conventions(network, size) for size in sizes})
