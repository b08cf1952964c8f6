"""Schema of recipe files. Sections of a protocol are checked after a row is resolved, see ``resolve``."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, model_validator

from .figures import GAIN, INCREASE, METRICS, readable_number

SECTIONS = ("data", "augmentation", "model", "weights", "method", "schedule", "evaluation", "cost", "stages")
Confidence = Literal["high", "medium", "low"]
Tree = dict[Any, Any]
_FACTS = ("table", "row", "dataset")  # conditions of a reading beside the protocol


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def in_section(path: str) -> str:
    """Return a dotted path as it is; raise ValueError unless it begins with a section of a protocol."""
    if path.split(".")[0] not in SECTIONS:
        raise ValueError(f"{path!r} is in no section of a protocol; sections: {', '.join(SECTIONS)}")
    return path


def _fact(path: str) -> str:
    return path if path in _FACTS else in_section(path)


def _metric(name: str) -> str:
    if name.removesuffix(GAIN).removesuffix(INCREASE) not in METRICS:
        raise ValueError(f"no metric {name!r}; known: {', '.join(METRICS)}")
    return name


def _addressable(name: str) -> str:
    if "/" in name:
        raise ValueError(f"{name!r} holds a slash, which stands between table and row")
    return name


def _undotted(name: str) -> str:
    if not name or "." in name:
        raise ValueError(f"{name!r} cannot be part of a dotted path")
    return name


def _printed(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("a printed figure must be quoted, so that its digits are kept")
    if not readable_number(value):
        raise ValueError(f"{value!r} is not a number")
    return value


Printed = Annotated[str, BeforeValidator(_printed)]
Path = Annotated[str, AfterValidator(in_section)]
Fact = Annotated[str, AfterValidator(_fact)]
MetricName = Annotated[str, AfterValidator(_metric)]
RowName = Annotated[str, AfterValidator(_addressable)]
PlainName = Annotated[StrictStr, AfterValidator(_undotted)]


class Tolerance(_Closed):
    """Distance between the result of the authors' own code and their printed figure; ``source`` names that result.

    A verdict takes it off the measured difference, so that differences within it are ignored.
    """

    points: float = Field(gt=0)
    source: StrictStr


class FigureEntry(_Closed):
    """One printed value with its annotations."""

    printed: Printed
    read_as: Printed | None = None
    over: StrictStr | None = None
    runs: int | None = Field(None, ge=1)
    best_of: int | None = Field(None, ge=2)
    note: StrictStr | None = None
    tolerance: Tolerance | None = None
    average: Literal["class", "micro"] = "class"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return data if isinstance(data, dict) else {"printed": _printed(data)}


class FigureGroup(_Closed):
    """All figures of a row for one data set and split."""

    runs: int | None = Field(None, ge=1, description="runs that are averaged; None: the publication does not say")
    best_of: int | None = Field(
        None, ge=2, description="runs or checkpoints of which the best is printed, if it says so"
    )
    note: StrictStr | None = None
    metrics: dict[MetricName, FigureEntry] = {}
    iou: dict[str, FigureEntry] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "metrics" in data:
            return data
        own = {key: data[key] for key in ("runs", "best_of", "note", "iou") if key in data}
        return {**own, "metrics": {key: value for key, value in data.items() if key not in own}}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        faults = []
        for name, entry in [*self.metrics.items(), *((f"iou.{name}", entry) for name, entry in self.iou.items())]:
            metric = METRICS.get(name.removesuffix(GAIN).removesuffix(INCREASE))
            timed = metric is not None and metric.kind == "time"
            relative = name.endswith((GAIN, INCREASE))
            if relative and entry.over is None:
                faults.append(f"{name}: a gain or increase must name the row it is over")
            elif entry.over is not None and not relative and not timed:
                faults.append(f"{name}: only a gain, an increase or a time can name a row it is over")
            if entry.average == "micro" and name != "dice":
                faults.append(f"{name}: only a Dice coefficient can be a micro average")
            if entry.tolerance is not None and (metric is None or metric.kind in ("exact", "time")):
                faults.append(f"{name}: only a figure that is judged by its spread over seeds can have a tolerance")
        if not self.metrics and not self.iou:
            faults.append("figures are missing: the group prints none")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class SourceEntry(_Closed):
    """Source of a value; ``confidence`` marks a value that is inferred rather than stated."""

    source: StrictStr
    confidence: Confidence | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"source": data} if isinstance(data, str) else data


class ReadingOption(_Closed):
    says: StrictStr
    set: dict[Path, Any] = {}


class Reading(_Closed):
    """A point that the publication leaves open, with the possible answers.

    ``recollected`` are the options that somebody remembers and nobody has found in a text: no full training rests on
    one unasked. ``group`` is a name by which several readings are chosen at once, as far as they have the option.
    """

    question: StrictStr
    options: dict[str, ReadingOption]
    default: StrictStr
    source: StrictStr
    confidence: Confidence
    when: dict[Fact, Any] = {}
    group: StrictStr | None = None
    recollected: list[StrictStr] = []

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.default not in self.options:
            raise ValueError(f"the default {self.default!r} is not among the options {', '.join(self.options)}")
        for option in self.recollected:
            if option not in self.options:
                raise ValueError(f"recollected names {option!r}, which is not among the options")
        if len(self.options) < 2:
            raise ValueError("a reading requires at least two options")
        return self


class Network(_Closed):
    """A network that rows refer to by name, ``model: {network: NAME}``; values are checked when a row is resolved.

    ``source`` and ``confidence`` are those of all of its values, ``sources`` those of single ones by their dotted path;
    what a row states itself has precedence.
    """

    backbone: Any
    decoder: Any
    align_corners: Any = None
    input: Tree = {}
    source: StrictStr | None = None
    confidence: Confidence | None = None
    sources: dict[str, SourceEntry] = {}

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        if self.confidence is not None and self.source is None:
            raise ValueError("a confidence requires a source")
        return self

    def tree(self) -> Tree:
        """Return the network as the section ``model`` of a row, as written."""
        tree = self.model_dump(exclude_unset=True, exclude={"source", "confidence", "sources"})
        named = {key: {"name": tree[key]} for key in ("backbone", "decoder") if isinstance(tree[key], str)}
        return tree | named


class Contradiction(_Closed):
    """A contradiction of the publication with itself; marked with a dagger beside the figures that it concerns.

    ``figures`` are ``row[/dataset.split[.metric[.class]]]`` of the same table: one figure or a group of them.
    """

    says: StrictStr
    figures: tuple[StrictStr, ...] = ()


class StreamEntry(_Closed):
    """Settings of one stream of a stage that differ from the table."""

    data: Tree = {}
    augmentation: Tree = {}
    batch_total: Any = None
    crop: Any = None


class StageEntry(_Closed):
    """Settings of one stage that differ from the table; values are checked when a row is resolved."""

    name: PlainName
    from_: StrictStr | None = Field(None, alias="from")
    emits: StrictStr | None = None  # of the first recipes; says nothing unless it is an error, see protocol
    primary: StrictStr | None = None
    streams: dict[PlainName, StreamEntry] = {}
    data: Tree = {}
    augmentation: Tree = {}
    model: Tree = {}
    weights: Tree = {}
    method: Tree = {}
    schedule: Tree = {}

    def tree(self) -> Tree:
        """Return the stage without its name, as written."""
        return self.model_dump(by_alias=True, exclude_unset=True, exclude={"name"})


class Sections(_Closed):
    """The protocol sections that a table or a row may set."""

    data: Tree = {}
    augmentation: Tree = {}
    model: Tree = {}
    weights: Tree = {}
    method: Tree = {}
    schedule: Tree = {}
    evaluation: Tree = {}
    cost: Tree = {}
    stages: list[StageEntry] = []
    sources: dict[Path, SourceEntry] = {}

    @model_validator(mode="after")
    def _stage_names(self) -> Self:
        names = [stage.name for stage in self.stages]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two stages are called {twice!r}")
        return self

    def tree(self) -> Tree:
        """Return the sections that are set, stages by name."""
        tree = {name: getattr(self, name) for name in SECTIONS if getattr(self, name)}
        return {**tree, "stages": {stage.name: stage.tree() for stage in self.stages}} if self.stages else tree


class RowEntry(Sections):
    """One line of a table.

    ``base`` is the row that it builds on, or one per data set; ``over`` is the row that it improves on, if no printed
    gain says so.
    """

    title: StrictStr | None = None
    note: StrictStr | None = None
    base: StrictStr | dict[str, StrictStr] | None = None
    over: StrictStr | None = None
    datasets: dict[str, Sections] = {}
    figures: dict[str, FigureGroup] = {}
    server: StrictStr | None = None

    @model_validator(mode="after")
    def _figure_keys(self) -> Self:
        for key in self.figures:
            if key.count(".") != 1:
                raise ValueError(f"figures are keyed by data set and split, like camvid.test. Got {key!r} instead")
        return self


class TableFile(Sections):
    """One file ``recipes/<paper>/<table>.yaml``. An ``additional`` table is in no supplement and counted separately."""

    schema_: Literal[1] = Field(alias="schema")
    version: int = Field(ge=1)
    table: StrictStr
    title: StrictStr
    source: StrictStr
    additional: bool = False
    margin: dict[MetricName, Annotated[float, Field(gt=0)]] = {}
    base: dict[str, StrictStr] = {}
    rows: dict[RowName, RowEntry]
    readings: dict[str, Reading] = {}
    networks: dict[PlainName, Network] = {}
    contradictions: list[Contradiction] = []
    claims: list[StrictStr] = Field([], description="sentences that nobody has made checkable; see claims.yaml")

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        if not self.rows:
            raise ValueError("a table requires rows")
        return self


class ReadingsFile(_Closed):
    """``recipes/<paper>/readings.yaml``: open points and networks that all tables of a paper share."""

    schema_: Literal[1] = Field(alias="schema")
    paper: StrictStr
    title: StrictStr
    cite: StrictStr
    readings: dict[str, Reading] = {}
    networks: dict[PlainName, Network] = {}


class Budget(_Closed):
    """A named scaling of a protocol. Every number is an upper limit: a smaller published value is kept.

    ``options`` selects which limits of backbones, decoders and methods apply: ``SMALL`` or ``SMOKE`` of their options.
    """

    says: StrictStr
    source: Literal["folder", "generated"] = "folder"
    images: int | None = Field(None, gt=0)
    max_crop_pixels: int | None = Field(None, gt=0)
    max_steps: int | None = Field(None, gt=0)
    max_batch: int | None = Field(None, gt=0)
    optimizer: Tree = Field({}, description="replaces every optimizer; not a limit")
    scale_range: tuple[float, float] | None = Field(None, description="widest range of training scales")
    min_bn_momentum: float | None = Field(None, gt=0, le=1, description="lower limit, of every batch norm")
    evaluation: Tree = {}
    weights: Tree = {}
    schedule: Tree = {}
    options: Literal["small", "smoke"] | None = None


class MeasuredSpread(_Closed):
    """Standard deviation over seeds that was measured somewhere, for verdicts that have none of their own.

    Such a verdict is provisional.
    """

    dataset: StrictStr
    metric: MetricName
    s: float = Field(gt=0, description="in the unit of the metric")
    df: int = Field(ge=1, description="degrees of freedom behind it")
    source: StrictStr = Field(description="where it was measured")
    records: StrictStr = Field("", description="folder of its records")
    backbone: StrictStr | None = Field(None, description="network that it holds for; None: any")
    decoder: StrictStr | None = None


class SpreadFile(_Closed):
    """``recipes/spread.yaml``: spreads over seeds that were measured, the one that fits best first."""

    schema_: Literal[1] = Field(alias="schema")
    spreads: list[MeasuredSpread]


class BudgetsFile(_Closed):
    schema_: Literal[1] = Field(alias="schema")
    budgets: dict[str, Budget]
