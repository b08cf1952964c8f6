"""What a recipe file may say. Sections of a protocol are checked after a row is resolved, see ``resolve``."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, model_validator

from .figures import GAIN, INCREASE, METRICS, readable_number

SECTIONS = ("data", "augmentation", "model", "weights", "method", "schedule", "evaluation", "cost", "stages")
Confidence = Literal["high", "medium", "low"]
Tree = dict[Any, Any]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _printed(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("a printed figure must be quoted, so that its digits are kept")
    if not readable_number(value):
        raise ValueError(f"{value!r} is no number")
    return value


Printed = Annotated[str, BeforeValidator(_printed)]


class FigureEntry(_Closed):
    """One printed value with what is particular to it."""

    printed: Printed
    read_as: Printed | None = None
    over: StrictStr | None = None
    runs: int | None = Field(None, ge=1)
    note: StrictStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return data if isinstance(data, dict) else {"printed": _printed(data)}


class FigureGroup(_Closed):
    """All figures of a row for one data set and split."""

    runs: int = Field(1, ge=1)
    note: StrictStr | None = None
    metrics: dict[str, FigureEntry] = {}
    iou: dict[str, FigureEntry] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "metrics" in data:
            return data
        own = {key: data[key] for key in ("runs", "note", "iou") if key in data}
        return {**own, "metrics": {key: value for key, value in data.items() if key not in own}}

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name, entry in self.metrics.items():
            base = name.removesuffix(GAIN).removesuffix(INCREASE)
            if base not in METRICS:
                raise ValueError(f"no metric {name!r}; known: {', '.join(METRICS)}")
            if (base != name) != (entry.over is not None):
                raise ValueError(f"{name}: a gain or increase, and nothing else, names the row it is over")
        if not self.metrics and not self.iou:
            raise ValueError("figures are missing: a data set without any printed figure")
        return self


class SourceEntry(_Closed):
    """Where a value comes from. ``inferred`` marks what the publication does not say."""

    source: StrictStr
    confidence: Confidence | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"source": data} if isinstance(data, str) else data


class ReadingOption(_Closed):
    says: StrictStr
    set: dict[str, Any] = {}


class Reading(_Closed):
    """An answer to a point that the publication leaves open."""

    question: StrictStr
    options: dict[str, ReadingOption]
    default: StrictStr
    source: StrictStr
    confidence: Confidence
    when: dict[str, Any] = {}

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.default not in self.options:
            raise ValueError(f"the default {self.default!r} is none of the options {', '.join(self.options)}")
        if len(self.options) < 2:
            raise ValueError("a reading needs at least two options")
        return self


class Contradiction(_Closed):
    """Where the publication contradicts itself; shown with a dagger beside the figures it touches."""

    says: StrictStr
    figures: tuple[StrictStr, ...] = ()


class _Sections(_Closed):
    """The protocol sections that the table or a row may set."""

    data: Tree = {}
    augmentation: Tree = {}
    model: Tree = {}
    weights: Tree = {}
    method: Tree = {}
    schedule: Tree = {}
    evaluation: Tree = {}
    cost: Tree = {}
    stages: list[Tree] = []
    sources: dict[str, SourceEntry] = {}

    def tree(self) -> Tree:
        """The sections that are set."""
        return {name: getattr(self, name) for name in SECTIONS if getattr(self, name)}


class RowEntry(_Sections):
    """One line of a table."""

    title: StrictStr | None = None
    note: StrictStr | None = None
    base: StrictStr | None = None
    datasets: dict[str, _Sections] = {}
    figures: dict[str, FigureGroup] = {}
    unavailable: StrictStr | None = None

    @model_validator(mode="after")
    def _figure_keys(self) -> Self:
        for key in self.figures:
            if key.count(".") != 1:
                raise ValueError(f"figures are keyed by data set and split, like camvid.test; got {key!r}")
        return self


class TableFile(_Sections):
    """One file ``recipes/<paper>/<table>.yaml``."""

    schema_: Literal[1] = Field(alias="schema")
    version: int = Field(ge=1)
    table: StrictStr
    title: StrictStr
    source: StrictStr
    margin: dict[str, float] = {}
    base: dict[str, StrictStr] = {}
    rows: dict[str, RowEntry]
    readings: dict[str, Reading] = {}
    contradictions: list[Contradiction] = []
    claims: list[StrictStr] = []

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        if not self.rows:
            raise ValueError("a table needs rows")
        return self


class ReadingsFile(_Closed):
    """``recipes/<paper>/readings.yaml``: open points that all tables of a paper share."""

    schema_: Literal[1] = Field(alias="schema")
    paper: StrictStr
    title: StrictStr
    cite: StrictStr
    readings: dict[str, Reading] = {}


class Budget(_Closed):
    """A named scaling of a protocol. Every field is a limit; what is below it already stays as published."""

    says: StrictStr
    source: Literal["folder", "generated"] = "folder"
    images: int | None = Field(None, gt=0)
    max_crop_pixels: int | None = Field(None, gt=0)
    max_steps: int | None = Field(None, gt=0)
    max_batch: int | None = Field(None, gt=0)
    lr_with_batch: bool = False
    evaluation: Tree = {}
    weights: Tree = {}
    schedule: Tree = {}
    backbones: dict[str, Tree] = {}
    decoders: dict[str, Tree] = {}
    methods: dict[str, Tree] = {}


class BudgetsFile(_Closed):
    schema_: Literal[1] = Field(alias="schema")
    budgets: dict[str, Budget]
