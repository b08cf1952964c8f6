"""Named rules for counting the cost of a network. Free of torch; ``cost`` counts by them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CostRule:
    """A counting rule.

    Attributes:
        name: its name in recipes.
        sentence: a sentence on what it counts.
    """

    name: str
    sentence: str


COST_RULES: dict[str, CostRule] = {
    rule.name: rule
    for rule in (
        CostRule(
            "thop",
            "Multiply-adds of convolutions and linear layers without their biases, plus 4 per element that an "
            "affine normalisation layer reads (2 if not affine); modules that pool by means, enlarge or take a softmax "
            "as well; activations and functions count nothing.",
        ),
    )
}
