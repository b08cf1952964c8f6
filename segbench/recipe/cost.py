"""Identity of counts of parameters and multiply-adds."""

from segbench.core.spec import digest

from .resolve import Resolved


def cost_family(resolved: Resolved) -> str:
    """Return the id of a count: the published network, its method (heads included), rule, input size and classes.

    Budgets and settings are ignored: nothing is trained, so there is no reason to count anything smaller. Of a training
    in stages the last stage is counted, whose network the publication reports.

    Raises:
        ValueError: the row counts nothing, or has no network.
    """
    published = resolved.published
    if published.cost is None or published.training is None:
        raise ValueError(f"{resolved.name} has no cost to count")
    stage = published.training.stages[-1]
    return digest(
        {
            "model": stage.model.canonical(),
            "method": stage.method.canonical(),
            "cost": published.cost.canonical(),
            "num_classes": published.cost.num_classes,
        }
    )
