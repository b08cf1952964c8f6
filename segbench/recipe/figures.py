"""What a published figure is, and what each metric is."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

Kind = Literal["trained", "exact", "time", "feature"]


@dataclass(frozen=True)
class Metric:
    """A metric that tables print.

    Attributes:
        name: its id in recipes.
        kind: ``trained`` needs a trained network, ``exact`` none, ``time`` a clock, ``feature`` a trained
            network's embeddings.
        unit: printed in headers.
        measured: whether this version of segbench can measure it.
        datasets: the data sets whose benchmark defines it; empty for all.
    """

    name: str
    kind: Kind
    unit: str
    measured: bool
    datasets: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("miou", "trained", "%", True),
        Metric("iou", "trained", "%", True),
        Metric("dice", "trained", "%", True),
        Metric("iiou", "trained", "%", True, ("cityscapes",)),
        Metric("category_miou", "trained", "%", True, ("cityscapes",)),
        Metric("category_iiou", "trained", "%", True, ("cityscapes",)),
        Metric("params_m", "exact", "M", True),
        Metric("flops_g", "exact", "G", True),
        Metric("sec_per_iter", "time", "s", True),
        Metric("sec_per_epoch", "time", "s", False),
        Metric("alignment", "feature", "", True),
        Metric("uniformity", "feature", "", True),
        Metric("neighborhood_uniformity_3", "feature", "", True),
        Metric("neighborhood_uniformity_5", "feature", "", True),
    )
}
GAIN, INCREASE = "_gain", "_increase_percent"


@dataclass(frozen=True)
class Figure:
    """One printed value.

    ``printed`` is the string as printed; ``read_as`` corrects a plain slip. ``over`` is the row that a gain or an
    increase is over, or that a time is compared with: seconds of another machine mean little, their ratio much.
    ``tolerance`` is how far the authors' own code lies from the value, by ``tolerance_source``.
    """

    table: str
    row: str
    dataset: str
    split: str
    metric: str
    printed: str
    class_name: str | None = None
    read_as: str | None = None
    over: str | None = None
    runs: int = 1
    note: str | None = None
    tolerance: float = 0.0
    tolerance_source: str = ""

    @property
    def value(self) -> float:
        """The number read."""
        return float(self.read_as or self.printed)

    @property
    def half_digit(self) -> float:
        """Half of the last printed digit: how far rounding alone can move the value."""
        exponent = Decimal(self.printed).as_tuple().exponent
        return 0.5 * 10.0 ** int(exponent)

    @property
    def slack(self) -> float:
        """How far a measurement may lie from the value and be it: its rounding and its tolerance."""
        return self.half_digit + self.tolerance

    @property
    def decimals(self) -> int:
        return max(0, -int(Decimal(self.printed).as_tuple().exponent))

    @property
    def base_metric(self) -> str:
        """The metric with ``_gain`` or ``_increase_percent`` taken off."""
        return self.metric.removesuffix(GAIN).removesuffix(INCREASE)

    @property
    def kind(self) -> Kind:
        return METRICS[self.base_metric].kind

    @property
    def measured(self) -> bool:
        """Whether this version of segbench can measure it on its data set."""
        metric = METRICS[self.base_metric]
        return metric.measured and (not metric.datasets or self.dataset in metric.datasets)

    @property
    def is_relative(self) -> bool:
        """Whether the figure itself compares the row with another one (``over``)."""
        return self.metric != self.base_metric

    @property
    def names(self) -> tuple[str, ...]:
        """What a recipe may call it, wholly or with others: ``row[/dataset.split[.metric[.class]]]``."""
        group = f"{self.row}/{self.dataset}.{self.split}"
        metric = f"{group}.{self.metric}"
        return (self.row, group, metric, *([f"{metric}.{self.class_name}"] if self.class_name else []))

    def as_json(self) -> dict[str, Any]:
        """Plain data; ``value`` is the number read, ``baseline`` the row that a gain is over."""
        return {
            "table": self.table,
            "row": self.row,
            "dataset": self.dataset,
            "split": self.split,
            "metric": self.metric,
            "class": self.class_name,
            "printed": self.printed,
            "value": self.value,
            "baseline": self.over if self.is_relative else None,
            "runs": self.runs,
            "note": self.note,
        }

    @property
    def headline(self) -> bool:
        """Per-class values are shown, not judged."""
        return self.class_name is None


def readable_number(text: str) -> bool:
    """Whether ``text`` is a printed decimal number, sign allowed."""
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
