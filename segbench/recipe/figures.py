"""Published figures and the metrics that tables print."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

Kind = Literal["trained", "exact", "time", "feature"]


@dataclass(frozen=True)
class Metric:
    """A metric that tables print.

    Attributes:
        name: its id in recipes.
        kind: ``trained`` requires a trained network, ``exact`` none, ``time`` a clock, ``feature`` the embeddings of a
            trained network.
        unit: printed in headers.
        measured: True if this version of segbench can measure it.
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
UNSTATED = "unstated"


@dataclass(frozen=True)
class Figure:
    """One printed value.

    ``printed`` is the string as printed; ``read_as`` corrects an obvious misprint. ``over`` is the row that a gain or
    an increase is over, or that a time is compared with: times of two machines compare as ratios only. ``runs`` are
    averaged and ``best_of`` are chosen from, None if the publication does not say. ``tolerance`` is the distance of the
    authors' own code from the value, according to ``tolerance_source``. ``average`` is that of a Dice coefficient: over
    the classes, or micro, pooled over them.
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
    runs: int | None = None
    best_of: int | None = None
    note: str | None = None
    tolerance: float = 0.0
    tolerance_source: str = ""
    average: Literal["class", "micro"] = "class"

    @property
    def value(self) -> float:
        """Numerical value."""
        return float(self.exact)

    @property
    def exact(self) -> Decimal:
        """Value in the digits printed."""
        return Decimal(self.read_as or self.printed)

    @property
    def exact_half_digit(self) -> Decimal:
        """Half of the last printed digit, the largest error of rounding."""
        return Decimal(5).scaleb(int(Decimal(self.printed).as_tuple().exponent) - 1)

    @property
    def group(self) -> str:
        """Data set and split."""
        return f"{self.dataset} {self.split}".strip()

    @property
    def half_digit(self) -> float:
        """Half of the last printed digit, as a float."""
        return float(self.exact_half_digit)

    @property
    def rounding(self) -> float:
        """Largest error of rounding; a gain may be the difference of two rounded values, off by a whole digit."""
        return self.half_digit * (2 if self.metric.endswith(GAIN) else 1)

    @property
    def decimals(self) -> int:
        return max(0, -int(Decimal(self.printed).as_tuple().exponent))

    @property
    def base_metric(self) -> str:
        """Metric without the suffix ``_gain`` or ``_increase_percent``."""
        return self.metric.removesuffix(GAIN).removesuffix(INCREASE)

    @property
    def measured_as(self) -> str:
        """Name of the measured value in a record.

        With one label a pixel, Dice pooled over the classes is the pixel accuracy.
        """
        return "pixel_accuracy" if self.average == "micro" else self.base_metric

    @property
    def kind(self) -> Kind:
        return METRICS[self.base_metric].kind

    @property
    def measured(self) -> bool:
        """True if this version of segbench can measure the figure on its data set."""
        metric = METRICS[self.base_metric]
        return metric.measured and (not metric.datasets or self.dataset in metric.datasets)

    @property
    def is_relative(self) -> bool:
        """True if the figure itself compares the row with another one (``over``)."""
        return self.metric != self.base_metric

    @property
    def names(self) -> tuple[str, ...]:
        """Names by which a recipe refers to it, or to a group with it: ``row[/dataset.split[.metric[.class]]]``."""
        group = f"{self.row}/{self.dataset}.{self.split}"
        metric = f"{group}.{self.metric}"
        return (self.row, group, metric, *([f"{metric}.{self.class_name}"] if self.class_name else []))

    def as_json(self) -> dict[str, Any]:
        """Return plain data; ``value`` is the numerical value, ``baseline`` the row that a gain is over."""
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
            "runs": self.runs or UNSTATED,
            "note": self.note,
        }

    @property
    def headline(self) -> bool:
        """True if the figure is judged; values of single classes are only shown."""
        return self.class_name is None


def readable_number(text: str) -> bool:
    """Return True if ``text`` is a decimal number, with or without a sign."""
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
