"""Named rules by which the cost of a network is counted. Free of torch; the counting is in ``cost.py``."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CostRule:
    """A counting rule: its name and what it counts, in a sentence."""

    name: str
    sentence: str


COST_RULES: dict[str, CostRule] = {
    rule.name: rule
    for rule in (
        CostRule(
            "thop",
            "Multiply-adds of convolutions and linear layers without their biases, plus 4 per element that an "
            "affine normalisation layer reads (2 if not affine); activations, pooling and functional resizing "
            "count nothing.",
        ),
    )
}
