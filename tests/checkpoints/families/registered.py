"""What the table of published checkpoints says of a family's files."""

from typing import NamedTuple

from segbench.checkpoints.published import checkpoint_table
from segbench.core.spec import EvaluationSpec
from segbench.data.classes import class_table


class Registered(NamedTuple):
    """A file, and the first protocol of a single scale that a figure of it is of."""

    name: str
    network: str
    num_classes: int
    evaluation: EvaluationSpec | None


def registered(family: str, network: str) -> list[Registered]:
    """The family's files whose network begins so."""
    found = []
    for each in checkpoint_table():
        if each.family == family and each.network.startswith(network):
            specs = [figure.evaluation for figure in each.figures if figure.evaluation is not None]
            plain = [spec for spec in specs if spec.scales == (1.0,)]
            classes = len(class_table(each.classes).names)
            found.append(Registered(each.name, each.network, classes, plain[0] if plain else None))
    return found
